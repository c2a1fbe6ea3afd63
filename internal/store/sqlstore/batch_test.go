package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A step that has nothing to undo does without a savepoint. If it fails after a change
// all the same, nobody's change is kept. I-5
func TestLeanStepLeavesNothingBehind(t *testing.T) {
	h := holdWriter(t)
	answers := make([]chan error, 2)
	for i, body := range []func(*step) error{
		func(s *step) error { _, err := s.exec(`UPDATE issuer SET over_before = 7`); return err },
		func(s *step) error {
			_, err := s.exec(`UPDATE issuer SET over_before = 9`)
			return errors.Join(err, errOwn)
		},
	} {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- h.lean(context.Background(), "test", body) }()
		until(t, "the step is queued", func() bool { return len(h.engine.(*sqliteEngine).writer.queue) == i+1 })
	}
	h.release()
	for i, answer := range answers {
		if err := <-answer; err == nil {
			t.Errorf("step %d was acknowledged", i)
		}
	}
	var over int64
	must(t, h.engine.read().one(context.Background(), `SELECT over_before FROM issuer`, nil, &over))
	if over != 0 {
		t.Errorf("a failed batch left %d behind", over)
	}
	must(t, h.lean(context.Background(), "test", func(s *step) error { return nil }))
}

// A failure of its own, before any change, is the answer of that step alone.
func TestLeanStepThatChangesNothingMayFail(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	if err := db.lean(t.Context(), "test", func(*step) error { return errOwn }); !errors.Is(err, errOwn) {
		t.Errorf("answered %v", err)
	}
}

// Whoever was told that a step is done reads what it did, in whatever crowd.
func TestLookUpsSeeWhatWasAcknowledged(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	must(t, db.bare(t.Context(), "test", func(s *step) error {
		_, err := s.exec(`CREATE TABLE counted (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)`)
		return err
	}))
	var all sync.WaitGroup
	for id := range 32 {
		all.Go(func() {
			for want := range 100 {
				_, err := db.change(t.Context(), "test", `INSERT INTO counted VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = excluded.n`, id, want)
				var got int
				if err == nil {
					err = db.engine.read().one(t.Context(), `SELECT n FROM counted WHERE id = $1`, []any{id}, &got)
				}
				if err != nil || got != want {
					t.Errorf("read %d, %v, after %d was acknowledged", got, err, want)
					return
				}
			}
		})
	}
	all.Wait()
}

// A look-up that fails is an error of its batch and costs the connection; one that
// finds no row is neither.
func TestReaderOpensAnew(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	var n int
	for range 2 * maxReaders {
		if err := db.engine.read().one(t.Context(), `SELECT n FROM missing`, nil, &n); err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("a table that is not there answers %v", err)
		}
		if err := db.engine.read().one(t.Context(), `SELECT 1 WHERE FALSE`, nil, &n); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("no row answers %v", err)
		}
		must(t, db.engine.read().one(t.Context(), `SELECT 1`, nil, &n))
	}
}

func TestLookUpAfterClose(t *testing.T) {
	db, err := Open(t.Context(), Options{URL: sqliteURL(t), Now: time.Now})
	must(t, err)
	must(t, db.Close())
	var n int
	if err := db.engine.read().one(t.Context(), `SELECT 1`, nil, &n); !errors.Is(err, errClosed) {
		t.Errorf("answered %v", err)
	}
}

// What was packed is cut by its lengths, whatever the texts hold.
func TestPackedRecords(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	for _, texts := range [][3]string{
		{"", "", ""}, {"a", "b", "c"}, {"1 2 3", " ", "\n"}, {"Zoë", "日本", strings.Repeat("x ", 300)}, {"12", "", "-1 "},
	} {
		query := `SELECT ` + packed([]string{"$1", "$2", "1 = 1"}, []string{"CAST($3 AS TEXT)", "CAST($4 AS TEXT)", "CAST($5 AS TEXT)"})
		var record string
		must(t, db.engine.read().one(ctx, query, []any{int64(-1), int64(1) << 62, texts[0], texts[1], texts[2]}, &record))
		u := unpacker{rest: record}
		var got [3]string
		first, second, flag := u.number(), u.number(), u.flag()
		err := u.texts(&got[0], &got[1], &got[2])
		if err != nil || first != -1 || second != 1<<62 || !flag || got != texts {
			t.Errorf("%q was read back as %d, %d, %v, %q, %v", texts, first, second, flag, got, err)
		}
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	for _, record := range []string{"", "1", "1 ", "x 1 0 ", "1 t 5 abc", "1 t 2 abc", "1 t -1 abc", "1 2 3 abc", "1 t 99999999999999999999 ", "- t 0 "} {
		u := unpacker{rest: record}
		var text string
		number, flag := u.number(), u.flag()
		if err := u.texts(&text); err == nil {
			t.Errorf("%q was taken for %s", record, fmt.Sprint(number, flag, text))
		}
	}
}

// Those who were performed together wait for each other the next time, but who comes
// alone never waits.
func TestBatchesWaitForAsManyAsBefore(t *testing.T) {
	b := newBatcher(time.Hour)
	var sizes []int
	ask := func() *operation {
		op := waitingFor(&step{})
		must(t, b.enqueue(op))
		return op
	}
	answered := func(all ...*operation) {
		for _, op := range all {
			<-op.done
		}
	}
	first, second := ask(), ask()
	b.idle.Go(func() {
		b.each(func(batch []*operation) {
			sizes = append(sizes, len(batch))
			for _, op := range batch {
				close(op.done)
			}
		})
	})
	answered(first, second)
	first = ask()
	until(t, "the first is gathered", func() bool { return len(b.queue) == 0 })
	for range 100 {
		runtime.Gosched() // it would be performed by now
	}
	second = ask()
	answered(first, second)
	last := ask() // it waits until nobody else can come
	b.close()
	answered(last)
	b = newBatcher(time.Hour)
	b.idle.Go(func() { b.each(func(batch []*operation) { close(batch[0].done) }) })
	for range 3 {
		answered(ask())
	}
	b.close()
	if fmt.Sprint(sizes) != "[2 2 1]" {
		t.Errorf("batches of %v, want [2 2 1]", sizes)
	}
}
