package relay

import (
	"context"
	"time"
)

// readRetry is the pause after a read of the mailbox that failed.
const readRetry = time.Second

// wantReadLocked asks for a reader where there is something to read for the attachment.
func (s *Service) wantReadLocked(a *Attachment) {
	if a.closed || s.draining || a.inReads || a.reading || a.retry != nil || !a.ask && !a.wantsPageLocked() {
		return
	}
	a.inReads = true
	s.reads = append(s.reads, a)
	s.readable.Signal()
}

// wantsPageLocked says whether the mailbox may hold something for the attachment and its window is half empty: many small reads would
// cost more than they bring.
func (a *Attachment) wantsPageLocked() bool {
	return a.behind && a.window.Messages <= a.s.o.Window.Messages/2 && a.window.Bytes <= a.s.o.Window.Bytes/2
}

// readAll is one reader: it serves attachments in turn.
func (s *Service) readAll(ctx context.Context) {
	for a := s.nextRead(); a != nil; a = s.nextRead() {
		s.read(ctx, a)
	}
}

// read reads a page for an attachment that is behind, and what was refused for its device, each where it is wanted.
func (s *Service) read(ctx context.Context, a *Attachment) {
	s.mu.Lock()
	wantsPage, asked := a.wantsPageLocked(), a.ask
	a.ask = false // what is refused from now on may not be in the answer
	after, commits := a.cursor, a.device.commits
	limit := int(s.o.Window.Messages - a.window.Messages)
	bytes := int(s.o.Window.Bytes - a.window.Bytes)
	s.mu.Unlock()
	var page []Held
	var refusals Refusals
	var err error
	if wantsPage {
		page, err = s.mailbox.Page(ctx, a.device.to, after, limit, bytes)
	}
	if asked && err == nil {
		refusals, err = s.mailbox.Refusals(ctx, a.device.to)
	}
	var out tidings
	s.mu.Lock()
	a.reading = false
	switch {
	case a.closed || s.draining || s.closed:
	case err != nil:
		s.o.Logger.Error("the mailbox cannot be read", errAttr(err))
		a.ask = a.ask || asked
		s.retryReadLocked(a)
	default:
		a.announceLocked(refusals, &out)
		if wantsPage {
			s.pageLocked(a, page, commits, &out)
		}
		if !wantsPage || a.ask { // else pageLocked knows what may have come meanwhile
			s.wantReadLocked(a)
		}
	}
	s.mu.Unlock()
	out.tell()
}

// nextRead waits for an attachment that wants a reader. It returns nil when the Service closes.
func (s *Service) nextRead() *Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.closed && len(s.reads) == 0 {
			s.readable.Wait()
		}
		if s.closed {
			return nil
		}
		a := s.reads[0]
		s.reads[0] = nil
		s.reads = s.reads[1:]
		a.inReads = false
		if !a.closed && !s.draining {
			a.reading = true
			return a
		}
	}
}

// pageLocked delivers a page. commits is what the device's counter was before the page was read.
func (s *Service) pageLocked(a *Attachment, page []Held, commits uint64, out *tidings) {
	d := a.device
	switch {
	case d.spilling > 0:
		// Some of the page may be what this attachment has already got; their IDs are known when the commit is settled, which
		// asks for a read again.
		return
	case len(page) == 0 && d.storing == 0 && d.commits == commits:
		a.behind = false // nothing is left there, and nothing is on its way there: from now on live
		return
	}
	for i := range page {
		a.cursor = page[i].ID
		s.handHeldLocked(a, &page[i], out)
	}
	if len(page) > 0 || d.commits != commits {
		s.wantReadLocked(a)
	}
}

// handHeldLocked delivers one envelope from the mailbox, unless the attachment has it or its deletion is on the way.
func (s *Service) handHeldLocked(a *Attachment, h *Held, out *tidings) {
	if _, ok := a.rows[h.ID]; ok {
		return
	}
	if _, ok := a.device.forgetting[h.ID]; ok {
		return
	}
	m := &message{Envelope: h.Envelope, size: uint64(len(h.Data)), state: kept, row: h.ID, windowed: true}
	a.rows[h.ID] = struct{}{}
	a.window.add(m.size)
	a.handLocked(m, out)
	m.Data = nil
}

// retryReadLocked asks for a read after a pause.
func (s *Service) retryReadLocked(a *Attachment) {
	a.retry = time.AfterFunc(readRetry, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.retry = nil
		s.wantReadLocked(a)
	})
}
