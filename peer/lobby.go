package peer

// lobby is where envelopes wait until something is known: who their sender is, or the opening of their session. It keeps them in the order of their
// coming, under what they wait for, within bounds. Owned by the core.
type lobby[K comparable] struct {
	maxCount, maxBytes int // immutable

	waiting map[K][]inbound
	count   int
	bytes   int
}

// lobbyEnvelope is what an envelope in a lobby costs besides its own bytes.
const lobbyEnvelope = 128

func newLobby[K comparable](maxCount, maxBytes int) *lobby[K] {
	return &lobby[K]{maxCount: maxCount, maxBytes: maxBytes, waiting: map[K][]inbound{}}
}

// expects reports whether something waits for k already.
func (l *lobby[K]) expects(k K) bool { return len(l.waiting[k]) > 0 }

// add keeps an envelope. One too many is not kept, and must then not be taken either.
func (l *lobby[K]) add(k K, in inbound) bool {
	size := len(in.envelope) + lobbyEnvelope
	if l.count >= l.maxCount || l.bytes+size > l.maxBytes {
		return false
	}
	l.waiting[k] = append(l.waiting[k], in)
	l.count++
	l.bytes += size
	return true
}

// leave takes out what has waited for k.
func (l *lobby[K]) leave(k K) []inbound {
	all := l.waiting[k]
	delete(l.waiting, k)
	for _, in := range all {
		l.count--
		l.bytes -= len(in.envelope) + lobbyEnvelope
	}
	return all
}
