package sqlstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

var errOwn = errors.New("the step's own failure")

// A held writer is busy with one step until it is released, so that what comes
// later gathers into one batch.
type held struct {
	*DB
	release func()
	heard   chan []feed.Entry
}

func holdWriter(t *testing.T) *held {
	t.Helper()
	h := &held{DB: open(t, Options{URL: sqliteURL(t), Now: time.Now}), heard: make(chan []feed.Entry, 100)}
	h.Heard(func(entries []feed.Entry) { h.heard <- entries })
	begun, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.release = func() { once.Do(func() { close(released) }) }
	t.Cleanup(h.release)
	go func() {
		_ = h.bare(context.Background(), "hold", func(*step) error {
			close(begun)
			<-released
			return nil
		})
	}()
	<-begun
	return h
}

// gather starts steps and waits until all of them are queued.
func (h *held) gather(t *testing.T, ctx context.Context, bodies ...func(*step) error) []chan error {
	t.Helper()
	queue := h.engine.(*sqliteEngine).writer.queue
	answers := make([]chan error, len(bodies))
	for i, body := range bodies {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- h.step(ctx, "test", body) }()
		until(t, "the step is queued", func() bool { return len(queue) == i+1 })
	}
	return answers
}

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !done(); {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func endSomething(s *step) error {
	s.end(feed.Session, "ses_x", "test")
	return nil
}

func TestWriterSharesOneCommit(t *testing.T) {
	h := holdWriter(t)
	answers := h.gather(t, context.Background(), endSomething,
		func(s *step) error { s.end(feed.Session, "ses_lost", "test"); return errOwn },
		endSomething)
	h.release()
	for i, want := range []error{nil, errOwn, nil} {
		if err := <-answers[i]; !errors.Is(err, want) {
			t.Errorf("step %d: %v, want %v", i, err, want)
		}
	}
	entries := <-h.heard
	if len(entries) != 2 || entries[0].Seq != 1 || entries[1].Seq != 2 {
		t.Errorf("one commit was heard as %+v", entries)
	}
	page, err := h.Since(context.Background(), 0, 10)
	must(t, err)
	if len(page.Rows) != 2 || page.Head.Seq != 2 {
		t.Errorf("a failed step left its entries: %+v", page)
	}
}

// The observer hears of a commit before any of its callers is answered.
func TestWriterTellsBeforeItAnswers(t *testing.T) {
	h := holdWriter(t)
	hearing, heard := make(chan struct{}), make(chan struct{})
	h.Heard(func([]feed.Entry) { close(hearing); <-heard })
	answers := h.gather(t, context.Background(), endSomething, func(*step) error { return errOwn })
	h.release()
	<-hearing
	for i, answer := range answers {
		select {
		case err := <-answer:
			t.Errorf("step %d was answered before the observer was done: %v", i, err)
		default:
		}
	}
	close(heard)
	for i, want := range []error{nil, errOwn} {
		if err := <-answers[i]; !errors.Is(err, want) {
			t.Errorf("step %d: %v, want %v", i, err, want)
		}
	}
}

// When the commit fails nobody is told anything else, failures and lost swaps
// included; then the connection is opened anew, and work goes on. I-5, D-02
func TestWriterCommitFails(t *testing.T) {
	spoilers := map[string]func(*step) error{
		"at the commit": func(s *step) error {
			_, err := s.exec(`PRAGMA defer_foreign_keys = ON`)
			if err == nil {
				_, err = s.exec(`INSERT INTO attachment (session_id, document, version) VALUES ('ses_none', '', 1)`)
			}
			return err
		},
		"before it": func(s *step) error {
			_, err := s.exec(`ROLLBACK`)
			return err
		},
	}
	for name, spoil := range spoilers {
		t.Run(name, func(t *testing.T) {
			h := holdWriter(t)
			answers := h.gather(t, context.Background(), endSomething, func(*step) error { return errOwn }, spoil, endSomething)
			h.release()
			for i, answer := range answers {
				if err := <-answer; err == nil || errors.Is(err, errOwn) {
					t.Errorf("step %d was answered with %v though nothing was committed", i, err)
				}
			}
			select {
			case entries := <-h.heard:
				t.Errorf("heard of %+v, which was not committed", entries)
			default:
			}
			must(t, h.step(context.Background(), "test", endSomething))
			page, err := h.Since(context.Background(), 0, 10)
			must(t, err)
			if len(page.Rows) != 1 || page.Head.Seq != 1 {
				t.Errorf("after the failure the log is %+v", page)
			}
			must(t, checkPragma(context.Background(), h.engine.(*sqliteEngine).writer.run, "synchronous", "2"))
		})
	}
}

func TestWriterDropsWhoHasLeft(t *testing.T) {
	h := holdWriter(t)
	ctx, cancel := context.WithCancel(context.Background())
	ran := false
	answers := h.gather(t, ctx, func(*step) error { ran = true; return nil })
	cancel()
	if err := <-answers[0]; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left before its step began got %v", err)
	}
	h.release()
	must(t, h.bare(context.Background(), "test", func(*step) error { return nil }))
	if ran {
		t.Error("its step began all the same")
	}
}

func TestWriterAnswersWhatHasBegun(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	err := db.step(ctx, "test", func(s *step) error {
		cancel()
		return endSomething(s)
	})
	if err != nil {
		t.Errorf("a step that had begun was answered with %v", err)
	}
}

func TestWriterCloses(t *testing.T) {
	db, err := Open(context.Background(), Options{URL: sqliteURL(t), Now: time.Now})
	must(t, err)
	must(t, db.Close())
	must(t, db.Close())
	if err := db.Hold(context.Background(), time.Minute); !errors.Is(err, errClosed) {
		t.Errorf("a step after Close: %v", err)
	}
}

// A batch is bounded, and every step of a crowd is answered once.
func TestWriterCrowd(t *testing.T) {
	h := holdWriter(t)
	const crowd = 3 * maxBatch
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			if err := h.step(context.Background(), "test", endSomething); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "the crowd is queued", func() bool { return len(h.engine.(*sqliteEngine).writer.queue) == crowd })
	h.release()
	all.Wait()
	total := 0
	for total < crowd {
		entries := <-h.heard
		if len(entries) > maxBatch {
			t.Errorf("a batch of %d", len(entries))
		}
		total += len(entries)
	}
}
