package main

import "runtime/debug"

// growth is how much garbage there may be for what a running peer holds, in percent (GOGC). A peer holds a few mebibytes and makes garbage of each message: with Go's 100 it
// would look through all of it several times a second while much comes in, and hold up what comes.
const growth = 400

// afterUnlocking has the collector suit a peer that runs. It comes after the key file was opened, which takes 128 MiB (scrypt): they go back to the system, and are
// not what the growth is reckoned from. GOGC counts where it is set.
func (p *program) afterUnlocking() {
	if p.getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	debug.FreeOSMemory()
}
