// Package delivery is the reliable stream above all ways: it numbers, resends, acknowledges, orders and reports messages, and never
// cares by which way they travel. It is a state machine without a socket, a clock, a disk or a goroutine: its owner feeds
// it events (a message was accepted, a payload arrived, a way opened, time passed) and carries out the [Effects] that [Engine.Take] returns, in
// this order: commit the Ops in one transaction, then send the Sends, then tell the Notices. That order is the whole
// durability argument: what has been sent or told is on this disk. The one exception is what others have acknowledged, see [Late].
//
// # Numbers
//
// Each message gets n, the next number of (this device → the recipient's account), starting at 1, and keeps it over every
// way and every resend; only a home that was set back to an old copy of its history must give new ones, see [Link]. All devices of the account see the same n. With each message travel the lowest n that the sender
// still holds for that device, and the n at which it began to write to that device: a receiver that misses numbers below the lowest
// held reports a gap and goes on, so an expired message never stalls a conversation, and a device that joins late sees no gap.
//
// # Acknowledgement
//
// A receiver acknowledges after its commit: every n below next, the ranges above it, and for messages that just arrived the way
// and the time of arrival. The acknowledgement is a sealed payload like any other, so nobody between the two can forge it. The
// sender keeps a message until each device that it was sealed for has acknowledged it and all before it, or it has expired.
//
// # Ways
//
// The engine knows of each device whether a direct way is open, and of the relay whether it is up. A message leaves by the best
// way open, and by the relay too while the direct way is in doubt; what was sent by a way that closes without an acknowledgement is sent again by the next. Duplicates are told by n
// and acknowledged again: they cost nothing, silence costs a conversation.
package delivery
