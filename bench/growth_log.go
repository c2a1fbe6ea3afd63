package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/daemon"
)

// A longLog is a database whose revocation log holds n entries that still count.
type longLog struct {
	*multitude
	n uint64
}

// logGrown measures what the tail of a long log costs a node, and what an entry takes.
func logGrown(ctx context.Context, r *rig, postgres *daemon.Postgres, _ []int) (figures []figure, err error) {
	sizes := []int{10_000, 1_000_000}
	if r.Quick {
		sizes[1] = 100_000
	}
	var all []*longLog
	room := make([][]float64, len(sizes))
	for i, n := range sizes {
		r.Note("growth: a log of %s entries", sizeText(n))
		l, err := writeLog(ctx, postgres, n)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		var bytes float64
		if err := l.db.QueryRowContext(ctx, `SELECT pg_total_relation_size('revocation')`).Scan(&bytes); err != nil {
			return nil, err
		}
		all, room[i] = append(all, l), []float64{bytes / float64(n)}
	}
	took := make([][]float64, len(sizes))
	for range r.Rounds {
		for i, l := range all {
			middle, err := l.tail(ctx)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], middle)
		}
	}
	last := all[len(all)-1]
	pruned, err := last.prune(ctx)
	if err != nil {
		return nil, err
	}
	figures = atSizes("read of the log's end, of %s entries in PostgreSQL", "µs", sizes, took)
	return append(figures,
		figure{
			Name: "size of an entry of the log in PostgreSQL", Unit: "B", Ours: room[1],
			Against: "with " + sizeText(sizes[0]), Reference: room[0], Bar: bar{Ratio: true, Limit: mayGrow},
		},
		figure{Name: "removal of " + sizeText(sizes[1]) + " entries of the log that count no more", Unit: "s", Ours: []float64{pruned}}), nil
}

func writeLog(ctx context.Context, postgres *daemon.Postgres, n int) (*longLog, error) {
	a, db, err := openOnPostgres(ctx, postgres, fmt.Sprintf("log_%d", n))
	if err != nil {
		return nil, err
	}
	l := &longLog{&multitude{n: n, app: a, db: db}, uint64(n)}
	err = l.alone(ctx, `DELETE FROM revocation`, fmt.Sprintf(`
		INSERT INTO revocation (seq, bits, kind, subject, before_s, reason, at_s, until_s)
		SELECT i, i %% 65536, 'session', 'ses_' || %s, 0, 'signed_out', extract(epoch FROM now())::bigint, extract(epoch FROM now())::bigint + 36000
		FROM generate_series(1::bigint, %d) i`, ordinal, n),
		fmt.Sprintf(`UPDATE revocation_head SET seq = %d`, n), `VACUUM (ANALYZE) revocation`, `CHECKPOINT`)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// tail returns the µs of a read where nothing is new, which each node does twenty times a
// second.
func (l *longLog) tail(ctx context.Context) (float64, error) {
	const warm, times = 20, 300
	var took []float64
	for i := range warm + times {
		begun := time.Now()
		page, err := l.app.Store.Since(ctx, l.n, 1000)
		if err != nil {
			return 0, err
		}
		if page.Head.Seq != l.n || len(page.Rows) > 1 {
			return 0, fmt.Errorf("the log ends at %d with %d entries, want %d and at most one", page.Head.Seq, len(page.Rows), l.n)
		}
		if i >= warm {
			took = append(took, float64(time.Since(begun))/float64(time.Microsecond))
		}
	}
	return median(took), nil
}

// crowdEnd is the number of the last entry.
func (l *longLog) crowdEnd() uint64 { return l.n }

// prune returns the seconds in which all entries are removed.
func (l *longLog) prune(ctx context.Context) (float64, error) {
	if err := l.alone(ctx, `UPDATE revocation SET until_s = 1`, `VACUUM (ANALYZE) revocation`); err != nil {
		return 0, err
	}
	begun := time.Now()
	n, err := l.app.Store.Prune(ctx)
	if err == nil && uint64(n) != l.n {
		err = fmt.Errorf("%d entries were removed, want %d", n, l.n)
	}
	return time.Since(begun).Seconds(), err
}

// rememberMany returns what a process that remembers n sessions says: the bytes of each,
// and the nanoseconds of a check and of a look-up that does nothing else.
func (r *rig) rememberMany(ctx context.Context, n int) (memory, check, floor float64, err error) {
	dir, err := r.folder("remembered")
	if err != nil {
		return 0, 0, 0, err
	}
	p, err := startRole(ctx, anyCore, "remembered", dir, fmt.Sprint(n))
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	for i, question := range []string{"memory", "check", "floor"} { // the floor takes memory of its own
		answer, err := p.ask(question)
		if err != nil {
			return 0, 0, 0, err
		}
		*[]*float64{&memory, &check, &floor}[i] = answer[0]
	}
	return memory, check, floor, nil
}
