// Package api is the local interface to a running peer: HTTP/JSON over the Unix socket HOME/byway.sock, described by OpenAPI 3.1
// at /openapi.json. A program that owns a peer calls [Serve]; any other face calls [Dial] and uses the [Client], which has
// the verbs of the Go API and hands errors back as *peer.Error with their code and hint.
//
// # Verbs
//
//	POST /v1/send      {to, body, way?, ref?, wait?, timeout_ms?}   → receipt
//	GET  /v1/receipts/{id}?wait=&timeout_ms=                        → receipt
//	GET  /v1/who                                                    → [contact]
//	GET  /v1/route?user=                                            → [route entry]
//	POST /v1/ping      {user, way?}                                 → pong
//	GET  /v1/verify?user=        POST /v1/verify {user, accept}     → verification
//	GET  /v1/history?user=&search=&limit=                           → [history entry]
//	GET  /v1/way?user=                                              → [policy]
//	POST /v1/read {user}   /v1/way {user, way}   /v1/shown {ids?, upto?}   → nothing
//	POST /v1/settings/receipts {read}                               → nothing
//	GET  /v1/status                                                 → status
//	GET  /v1/checkup             GET /v1/doctor                     → checkup
//	GET  /v1/address                                                → [address]
//	POST /v1/stop                                                   asks the process that owns the peer to leave
//	GET  /v1/events?unshown=&after=                                 → server-sent events
//	GET  /v1/trace?user=&after=&new=&held=                          → server-sent events of the story of the ways
//
// Each object of an answer has "v":1. An error is an object with code and message, and perhaps hint, reason and cause; of a request that is wrong the message says
// what is allowed.
//
// An event's data is one JSON object of the event stream, its id names the process and the object's seq; the header Last-Event-ID (or after=) resumes. An id
// of another process, or of an event that is not held any more, begins with an error object of code events-lost, and then come the messages that no face has
// shown and all events that are still held. A bare seq is taken for one of this process.
// With unshown=1 the reader is a face: the stream begins with the messages that no face has shown, where nothing is resumed. A line ": " comes every 15 s while nothing
// happens. The stream ends when the peer stops; an event named "failure" before the end carries the reason.
//
// The trace is a stream of its own, so that it floods nobody who has not asked: its objects are those of package trace, its ids count them. It begins with what
// the peer still holds of the past; new=1 leaves that out, and held=1 ends the stream after it. An object "what":"lost" says how many are missing in its place.
//
// # Promises
//
// Only the owner may connect: the directory is 0700 and the socket 0600. A request body is read whole, within 5 s and at most 512 KiB,
// before anything acts on it. Close of the server lets running requests finish, so that what was answered has happened and a
// refused connection means that nothing has.
package api
