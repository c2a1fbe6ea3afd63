package web

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// Scrapes cost the store at most a hundredth of a core, and what takes long to count
// holds none of them up and is told as it was last, not as nothing.
func TestCountingIsSeldom(t *testing.T) {
	var at atomic.Int64
	now := func() time.Time { return time.UnixMilli(at.Load()) }
	counts := make(chan int)
	asked := make(chan struct{}, 10)
	read := seldom(now, func(context.Context) (int, error) {
		asked <- struct{}{}
		n := <-counts
		if n < 0 {
			return 0, errors.New("the database is away")
		}
		return n, nil
	})
	if n, known := read(); n != 0 || known { // a second later: nobody has counted yet
		t.Errorf("%d, %v, before it is counted", n, known)
	}
	<-asked
	read() // does not count beside the one that counts
	told := make(chan int)
	scrape := func() {
		n, known := read()
		if !known {
			n = -1
		}
		told <- n
	}
	go scrape()
	counts <- 7
	if n := <-told; n != 7 {
		t.Errorf("%d, want the 7 that were counted while it waited", n)
	}
	at.Add((countEvery - time.Second).Milliseconds()) // counting took two seconds, a share of which is longer
	if n, _ := read(); n != 7 || len(asked) > 0 {
		t.Errorf("%d, counted %d times more", n, len(asked))
	}
	at.Add((10 * time.Hour).Milliseconds())
	go scrape()
	<-asked
	counts <- -1
	if n := <-told; n != 7 {
		t.Errorf("%d, want what was counted before the database was away", n)
	}
}
