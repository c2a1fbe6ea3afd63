package revocation

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

var errFull = errors.New("the disk is full")

// A brokenStore can be read, and written to as long as it is not full.
type brokenStore struct {
	*tape
	full  bool
	holds int
}

func (s *brokenStore) Hold(context.Context, time.Duration) error {
	s.holds++
	if s.full {
		return errFull
	}
	return nil
}

// D-02, D-03: a node whose store cannot write is not ready, and is again as soon as
// it can, without anybody else writing. In peace readiness costs no write.
func TestNotReadyWhileTheStoreCannotWrite(t *testing.T) {
	s := &brokenStore{tape: newTape()}
	l := New(Config{}, s, s.clock, slog.New(slog.DiscardHandler))
	ready := func() error { t.Helper(); return l.Ready(t.Context()) }
	if err := ready(); err != nil || s.holds != 0 {
		t.Fatalf("in peace: %v, after %d writes", err, s.holds)
	}
	s.full = true
	l.WriteFailed()
	for range 2 {
		if err := ready(); !errors.Is(err, ErrBehind) || !errors.Is(err, errFull) {
			t.Errorf("with a full disk: %v", err)
		}
	}
	s.full = false
	if err := ready(); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	before := s.holds
	if err := ready(); err != nil || s.holds != before {
		t.Errorf("afterwards: %v, after %d more writes", err, s.holds-before)
	}
}

// Whoever asks while somebody else tries is not kept waiting for a broken disk.
func TestReadinessIsTriedByOne(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	l.WriteFailed()
	l.probing.Lock()
	if err := l.Ready(t.Context()); !errors.Is(err, ErrBehind) {
		t.Errorf("while it is being tried: %v", err)
	}
	l.probing.Unlock()
	if err := l.Ready(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// I-10: the highest time that was recorded does not fall, whatever pages say later.
func TestRecordedTimeDoesNotFall(t *testing.T) {
	s := newTape()
	s.mark = s.now.Add(time.Hour)
	l := newLog(t, s)
	s.mark = s.now
	poll(t, l)
	if got, want := l.Recorded(), s.now.Add(time.Hour); !got.Equal(want) {
		t.Errorf("recorded is %v, want %v", got, want)
	}
}

// D-20: what has run out by the store's clock has run out, whatever the node's clock
// says; and a store whose clock was ahead for a while is believed again. I-10
func TestTheStoreTellsTheTime(t *testing.T) {
	s := newTape()
	l := New(Config{}, s, func() time.Time { return s.now.Add(-time.Hour) }, slog.New(slog.DiscardHandler))
	for _, now := range []time.Duration{0, time.Hour, -time.Minute} {
		s.pass(now)
		poll(t, l)
		if got := l.Recorded(); !got.Equal(s.clock()) {
			t.Errorf("it is %v, and the store says %v", got, s.clock())
		}
	}
}

// A node that stops has the store record the time, so that it is no earlier when a
// node starts again with its clock set back. I-10
func TestStoppingRecordsTheTime(t *testing.T) {
	s := &brokenStore{tape: newTape()}
	l := New(Config{}, s, s.clock, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Follow(ctx)
	if s.holds != 1 {
		t.Errorf("the time was recorded %d times", s.holds)
	}
}
