// Package route knows which ways there are to a device of a contact, which of them is in use, and why the better ones are not. It has no
// network and no clock: its owner tells a [Table] what has happened, and asks it what to try now, by which way to send, and for the reasons.
//
// # Ways
//
// Best first: lan, direct, punched, relay, mailbox. A message goes at once by the best that is open; the better ones are tried beside it. A dial tries all
// addresses of a device together, so lan and direct are tried at once. Where that fails, and both have a network that lets it, a punch is tried: both sides
// send to each other at the same moment, so that the routers of both take what comes for an answer.
//
// # Reasons
//
// Each way that is not in use has one [Reason]: a stable code with a sentence and a remedy. A device finds out what its own network does to it (a [Network]), and
// contacts tell each other inside their session; so a reason names the side that is in the way. Codes are only ever added.
//
// # Policies
//
// A person may keep to some of the ways for a contact, by a [Policy]. Only ways that both sides allow are used: where there is none, nothing is sent, and
// the reason says whose policy it is.
package route
