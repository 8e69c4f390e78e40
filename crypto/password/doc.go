// Package password hashes and checks passwords with Argon2id. Use [Prepare] where a person chooses a password and
// [PrepareLogin] where one is shown, [Hash] to store it and [Params.Verify] to check it; [Dummy] makes the record that an unknown name is
// checked against, so that it costs and answers what a known one does.
//
// Records are PHC strings; the parser accepts only what this package writes and bounds what a record may make it compute.
// Nothing here limits how often or how many at once: the caller holds the semaphore. Nothing here logs.
package password
