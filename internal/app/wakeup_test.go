package app

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/daemon"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

func startRedis(t *testing.T) *daemon.Redis {
	t.Helper()
	r, err := daemon.StartRedis(daemon.RedisOptions{Password: "hunter2"})
	if err != nil {
		t.Fatalf("Redis could not be started; \"make test\" installs what is missing: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func run(t *testing.T, a *App) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// What one node ends wakes the other; with Redis gone, it hears of it all the same.
// D-07
func TestAnEndWakesOtherNodes(t *testing.T) {
	redis := startRedis(t)
	apps := nodes(t, 2, map[string]string{"redis": redis.URL()})
	here, there := apps[0], apps[1]
	run(t, here)
	run(t, there)
	until(t, "both hear", func() bool { return here.bell.Connected() && there.bell.Connected() })
	end := func(email string) {
		t.Helper()
		opened := signIn(t, here, email)
		if n, err := here.Sessions.End(t.Context(), session.Ending{Kind: feed.Session, ID: opened.Standing.Session.ID, Reason: "ended"}, "test", Origin); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		until(t, "the other node knows", func() bool {
			return there.Log.Set().Holds(feed.Session, opened.Standing.Session.ID)
		})
	}
	end("ada@example.com")
	until(t, "a word came", func() bool { return here.bell.Sent() > 0 && there.bell.Received() > 0 })
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	end("bob@example.com")
}

// The doctor says what is the matter with Redis, and never more than a note: nothing
// hangs on it. The password is told nowhere. V-104
func TestDoctorLooksAtRedis(t *testing.T) {
	redis := startRedis(t)
	apps := nodes(t, 1, map[string]string{"redis": redis.URL()})
	c := apps[0].config
	examine(t, Examine(t.Context(), c, nil, nil), "redis", Fine, redis.Socket())
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	findings := Examine(t.Context(), c, nil, nil)
	examine(t, findings, "redis", Note, "of no use")
	if strings.Contains(fmt.Sprint(findings), "hunter2") {
		t.Errorf("the password of Redis is told: %v", findings)
	}
}
