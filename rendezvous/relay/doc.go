// Package relay carries sealed envelopes from one device to another, or keeps them until that device returns. Use [New], then
// [Service.Sender] for those who send and [Service.Attach] for those who are connected; a [Link] is how either is reached.
//
// # What is promised
//
// Every Submit ends in exactly one [Outcome]. TAKEN means that the recipient's device has said that it holds the envelope. STORED
// means that a [Mailbox] commit that contains it has returned, so it survives kill -9 and power loss and is delivered until the
// device says Taken or its lifetime ends. REFUSED means that nothing is kept. What is acknowledged (TAKEN or STORED) is never
// lost; it may be delivered twice, when a device goes away between getting an envelope and saying so. Envelopes from one
// device to another are delivered, on one attachment, in the order of their submission; only a refusal makes a hole.
//
// # How
//
// A device that is attached and has nothing waiting in its mailbox gets the envelope at once; the envelope stays in memory until Taken. It
// is put into the mailbox when the device is away, when it goes, when too much is untaken, or when it was not taken in time. While anything
// waits in the mailbox of an attached device, newer envelopes queue up behind it there, and a window of them is delivered in order.
//
// One goroutine commits: it takes all puts and deletions that have gathered while the last commit ran and makes one transaction of them. A commit that
// fails refuses every envelope in it. What is live waits for no disk.
//
// What a full mailbox has refused is counted in the same transactions, and told to the device when it attaches and while it is attached, until it
// has told its person.
package relay
