package framing

// AddAppended is Add for a frame that f appends, with its length, to the bytes that it is given. f is called at most once, with a lock of
// the Writer's held.
func (w *Writer) AddAppended(f func(buf []byte) []byte) error { return w.append(f, true) }

// HoldAppended is Hold in the way that AddAppended is Add.
func (w *Writer) HoldAppended(f func(buf []byte) []byte) error { return w.append(f, false) }

func (w *Writer) append(f func(buf []byte) []byte, start bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admitLocked(); err != nil {
		return err
	}
	before := len(w.pending.b)
	buf := f(w.pending.b)
	if len(buf) > w.maxBytes {
		w.pending.b = buf[:before]
		return ErrQueueFull
	}
	w.pending.b = buf
	w.frames++
	if start {
		w.startLocked()
	}
	return nil
}
