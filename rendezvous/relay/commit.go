package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

const (
	// failedRetry is when a sender whose envelope was in a failed commit may try again, and after which failed deletions are tried again.
	failedRetry = time.Second
	// maxDeletions bounds the deletions that wait after failures. One that is given up costs a duplicate, not a loss.
	maxDeletions = 65536
)

// commitQueue is what the committer will do. It is guarded by Service.mu.
type commitQueue struct {
	puts      []*message
	deletions []deletion
	told      []Told
	again     []deletion // those of a failed commit
	againDue  bool       // the pause after the failure is over
	tried     bool       // the last transaction was one of again: puts have their turn
	pause     *time.Timer
	running   bool // a transaction is running or its outcomes are being told
	failing   bool // the last transaction failed
}

type deletion struct {
	device *device
	row    uint64
	from   rendezvous.Username
	size   uint64
}

func (q *commitQueue) ready() bool {
	return len(q.puts) > 0 || len(q.deletions) > 0 || len(q.told) > 0 || q.againDue
}

// transaction is one run of the committer.
type transaction struct {
	batch     Batch
	puts      []*message
	deletions []deletion
}

// commitAll is the committer: whatever gathers while one transaction runs becomes the next, so one fsync serves many senders
// under load and nobody waits for company when there is none.
func (s *Service) commitAll() {
	for {
		t := s.nextTransaction()
		if t == nil {
			return
		}
		// No deadline: a commit that is given up may still happen, and its outcome must be known.
		now, err := s.clock.now(context.Background())
		if err == nil {
			t.batch.Kept = now.Mailbox
			err = s.mailbox.Apply(context.Background(), &t.batch)
		}
		s.settle(t, err)
	}
}

// nextTransaction waits for work. It returns nil when the Service closes.
func (s *Service) nextTransaction() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.closed && !s.queue.ready() {
			s.work.Wait()
		}
		if s.closed {
			return nil
		}
		if t := s.takeLocked(); len(t.puts)+len(t.deletions)+len(t.batch.Told) > 0 {
			s.queue.running = true
			return t
		}
		s.settled.Broadcast() // all that was queued has been taken meanwhile
	}
}

// takeLocked fills a transaction. Deletions that have failed get one of their own: they must not spoil the puts of others.
func (s *Service) takeLocked() *transaction {
	t := &transaction{batch: Batch{Quota: s.o.Quota}}
	q := &s.queue
	limit := int(s.o.Batch.Messages)
	if q.againDue && !(q.tried && len(q.puts) > 0) {
		q.tried = true
		n := min(limit, len(q.again))
		t.addDeletions(q.again[:n])
		q.again = cut(q.again, n)
		q.againDue = len(q.again) > 0
		return t
	}
	q.tried = false
	t.batch.Told, q.told = q.told, nil
	// Up to half of it is for puts, whose senders wait: deletions must not starve them.
	n := min(limit-min(limit/2, len(q.puts)), len(q.deletions))
	t.addDeletions(q.deletions[:n])
	q.deletions = cut(q.deletions, n)
	var bytes uint64
	n = 0
	for _, m := range q.puts {
		if len(t.deletions)+len(t.puts) >= limit || bytes > 0 && bytes+m.size > s.o.Batch.Bytes {
			break
		}
		n++
		if m.forget || m.state == over { // taken, or purged, before anybody wrote it
			s.unstoreLocked(m)
			continue
		}
		bytes += m.size
		m.state = committing
		t.puts = append(t.puts, m)
		t.batch.Puts = append(t.batch.Puts, &Put{Envelope: &m.Envelope})
	}
	q.puts = cut(q.puts, n)
	return t
}

func (t *transaction) addDeletions(deletions []deletion) {
	t.deletions = append(t.deletions, deletions...)
	for _, d := range deletions {
		t.batch.Deletions = append(t.batch.Deletions, Deletion{To: d.device.to, ID: d.row, From: d.from, Size: d.size})
	}
}

// cut removes the first n and lets go of what they point to.
func cut[T any](q []T, n int) []T {
	rest := copy(q, q[n:])
	clear(q[rest:])
	return q[:rest]
}

// unstoreLocked ends a put that was queued and is not needed any more.
func (s *Service) unstoreLocked(m *message) {
	d := s.devices[m.To.Device]
	d.storing--
	if m.state != over {
		s.dropLocked(m, over)
	}
	if d.attachment != nil {
		s.wantReadLocked(d.attachment)
	}
	s.tidyLocked(d)
}

// settle tells what a transaction has done.
func (s *Service) settle(t *transaction, err error) {
	var out tidings
	s.mu.Lock()
	s.noteCommitLocked(err)
	for i, m := range t.puts {
		s.settlePutLocked(m, t.batch.Puts[i], err, &out)
	}
	if err == nil {
		for _, d := range t.deletions {
			delete(d.device.forgetting, d.row)
			s.tidyLocked(d.device)
		}
	} else {
		s.postponeLocked(t.deletions)
	}
	s.mu.Unlock()
	out.tell()
	s.mu.Lock()
	s.queue.running = false
	s.settled.Broadcast()
	s.mu.Unlock()
}

func (s *Service) noteCommitLocked(err error) {
	s.counters.Commits++
	if err != nil {
		s.counters.Failures++
		if !s.queue.failing {
			s.o.Logger.Error("the mailbox cannot commit", errAttr(err))
		}
	} else if s.queue.failing {
		s.o.Logger.Info("the mailbox commits again")
	}
	s.queue.failing = err != nil
}

// settlePutLocked ends one put: it is kept, or refused.
func (s *Service) settlePutLocked(m *message, p *Put, err error, out *tidings) {
	d := s.devices[m.To.Device]
	d.storing--
	d.commits++
	a := m.given
	if a != nil {
		d.spilling--
	}
	if err != nil || p.Refused {
		refusal := refused(rendezvous.CodeInternal, failedRetry)
		if err == nil {
			refusal = refused(rendezvous.CodeMailboxFull, fullRetry)
			if d.attachment != nil {
				refusal.RetryAfter = emptyingRetry
				d.attachment.refusedLocked()
			}
		}
		if a != nil {
			a.out.remove(m.id)
			m.given = nil
		}
		s.resolveLocked(m, refusal, out)
		s.dropLocked(m, over)
	} else {
		m.row = p.ID
		s.resolveLocked(m, stored(), out)
		data := m.Data
		s.dropLocked(m, kept)
		switch {
		case m.forget:
			s.forgetLocked(d, m)
		case a != nil:
			a.rows[m.row] = struct{}{}
		case len(s.taps) == 0: // else they show its data
			s.recycleLocked(m, data)
		}
	}
	if d.attachment != nil {
		s.wantReadLocked(d.attachment)
	}
	s.tidyLocked(d)
}

// forgetLocked queues the deletion of an envelope that its device has taken.
func (s *Service) forgetLocked(d *device, m *message) {
	d.forgetting[m.row] = struct{}{}
	s.queue.deletions = append(s.queue.deletions, deletion{device: d, row: m.row, from: m.From.User, size: m.size})
	s.work.Signal()
}

// postponeLocked keeps the deletions of a failed transaction for another try.
func (s *Service) postponeLocked(deletions []deletion) {
	q := &s.queue
	for _, d := range deletions {
		if len(q.again) >= maxDeletions {
			s.counters.Kept++
			delete(d.device.forgetting, d.row)
			s.tidyLocked(d.device)
			continue
		}
		q.again = append(q.again, d)
	}
	if len(q.again) == 0 || s.closed {
		return
	}
	q.againDue = false // the rest of them waits too: the disk has just failed
	if q.pause != nil {
		q.pause.Stop()
	}
	q.pause = time.AfterFunc(failedRetry, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queue.againDue = len(s.queue.again) > 0
		s.work.Signal()
	})
}

func errAttr(err error) slog.Attr { return slog.Any("err", err) }
