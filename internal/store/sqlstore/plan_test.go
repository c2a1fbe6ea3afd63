package sqlstore

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Every look-up in a table that grows goes by an index.
func TestLookupsAreIndexed(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	scan := regexp.MustCompile(`SCAN (w|p|logout_watch|logout_notice|authorization_code|k|outbox|o|s|g|a|c|session|session_grant|account|client|revocation|audit|attachment|link|l)\b`)
	for _, l := range lookups() {
		t.Run(l.name, func(t *testing.T) {
			rows, err := db.engine.read().QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+l.query, l.args...)
			plan, err := collect(rows, err, func(r row) (detail string, err error) {
				var id, parent, unused int
				return detail, r.Scan(&id, &parent, &unused, &detail)
			})
			must(t, err)
			for _, line := range plan {
				if scan.MatchString(line) {
					t.Errorf("it reads a whole table: %q", plan)
				}
			}
		})
	}
}

func TestLatencyIsTold(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now, Latency: func(step string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took >= 0 {
			told[step]++
		}
	}})
	must(t, db.Hold(t.Context(), time.Minute))
	_, err := db.Since(t.Context(), 0, 1)
	must(t, err)
	_, err = db.Prune(t.Context())
	must(t, err)
	if told["hold"] != 1 || told["since"] != 1 || told["prune"] != 1 {
		t.Errorf("told of %v", told)
	}
}
