package wakeup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/daemon"
)

func redis(t *testing.T, o daemon.RedisOptions) *daemon.Redis {
	t.Helper()
	r, err := daemon.StartRedis(o)
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

// A node is a Bell that runs, and counts how often it had the log read.
type node struct {
	*Bell
	reads atomic.Int64
	epoch atomic.Pointer[string]
}

func start(t *testing.T, url, epoch string, change ...func(*Bell)) *node {
	t.Helper()
	n := &node{}
	n.epoch.Store(&epoch)
	var err error
	n.Bell, err = New(Config{URL: url, Epoch: func() string { return *n.epoch.Load() }, Wake: func() { n.reads.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(n.Bell)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

// until waits for what other processes bring about.
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

// hears rings at one node until the other has heard it, and then seen to it that the
// log is read.
func hears(t *testing.T, after string, from, to *node) {
	t.Helper()
	until(t, "both are connected after "+after, func() bool { return from.Connected() && to.Connected() })
	heard, read := to.Received(), to.reads.Load()
	until(t, "one hears the other after "+after, func() bool {
		from.Ring()
		return to.Received() > heard && to.reads.Load() > read
	})
}

// A node wakes the others on its database, not itself and not those on another.
func TestARingWakesTheOthers(t *testing.T) {
	r := redis(t, daemon.RedisOptions{Password: "of/Redis"})
	a, b, other := start(t, r.URL(), "one"), start(t, r.URL(), "one"), start(t, r.URL(), "two")
	hears(t, "the start", a, b)
	if got := a.Received(); got != 0 {
		t.Errorf("a node heard itself %d times", got)
	}
	hears(t, "the first word", b, a)
	until(t, "the third is connected", other.Connected)
	hears(t, "that", a, b)
	if got := other.Received(); got != 0 {
		t.Errorf("a node on another database was woken %d times", got)
	}
}

// However fast ends follow each other, words and reads keep their distance.
func TestRingsBecomeOne(t *testing.T) {
	r := redis(t, daemon.RedisOptions{})
	a, b := start(t, r.URL(), "one"), start(t, r.URL(), "one")
	hears(t, "the start", a, b)
	begun, before := time.Now(), a.Sent()
	for a.Sent() < before+20 {
		a.Ring()
	}
	if most := uint64(time.Since(begun)/gap) + 2; a.Sent()-before > most {
		t.Errorf("%d words in %s, want at most %d", a.Sent()-before, time.Since(begun), most)
	}
	for range 10_000 {
		raise(b.heard) // as if that many came
	}
	read := b.reads.Load()
	hears(t, "a flood", a, b)
	if got := b.reads.Load() - read; got > 100 {
		t.Errorf("a flood of words had the log read %d times", got)
	}
}

// Whatever becomes of Redis, ringing does not wait, and where it can be heard again it
// is. D-07, D-08
func TestRedisMayDoWhatItLikes(t *testing.T) {
	r := redis(t, daemon.RedisOptions{})
	a, b := start(t, r.URL(), "one"), start(t, r.URL(), "one")
	hears(t, "the start", a, b)
	do := func(command ...string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if _, err := r.Do(command...); err != nil {
				t.Error(err)
			}
		}
	}
	all := func(steps ...func(*testing.T)) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			for _, step := range steps {
				step(t)
			}
		}
	}
	for _, c := range []struct {
		what string
		do   func(*testing.T)
	}{
		{"FLUSHALL", do("FLUSHALL")},
		{"another's list at our name", do("LPUSH", Prefix+"one", "x")},
		{"another's stream at our name", all(do("DEL", Prefix+"one"), do("XADD", Prefix+"one", "*", "a", "b"))},
		{"a word that is not ours", do("PUBLISH", Prefix+"one", strings.Repeat("\r\n\x00", 1000))},
		{"its connections cut", do("CLIENT", "KILL", "TYPE", "pubsub")},
		{"a reader cut for being slow", all(
			do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000 1000 1"),
			do("PUBLISH", Prefix+"one", strings.Repeat("x", 1_000_000)),
			do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"),
		)},
		{"a replica that is read only, and has lost its master", do("REPLICAOF", "127.0.0.1", "1")},
		{"a replica that serves nothing old", do("CONFIG", "SET", "replica-serve-stale-data", "no")},
		{"a master again", do("REPLICAOF", "NO", "ONE")},
		{"no memory", do("CONFIG", "SET", "maxmemory", "1")},
		{"a crash, and a start with nothing", func(t *testing.T) {
			t.Helper()
			if err := r.Kill(); err != nil {
				t.Fatal(err)
			}
			until(t, "the loss is noticed", func() bool { return !a.Connected() && !b.Connected() })
			for range 100_000 {
				a.Ring()
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		c.do(t)
		hears(t, c.what, a, b)
	}
}

// However often the connection is lost, nothing of it is left. I-9
func TestLostConnectionsLeaveNothing(t *testing.T) {
	r := redis(t, daemon.RedisOptions{})
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	b, err := New(Config{URL: r.URL(), Epoch: func() string { return "one" }, Wake: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for range 20 {
			if err := b.serve(ctx, func() { b.Ring() }); ctx.Err() != nil {
				t.Errorf("it ended early: %v", err)
			}
		}
	})
	cuts := 0
	until(t, "it has connected twenty times", func() bool {
		if b.Sent() > uint64(cuts) {
			cuts++
			if _, err := r.Do("CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
				t.Error(err)
			}
		}
		return cuts == 20
	})
	running.Wait()
	cancel()
	until(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// A Redis that takes all and answers nothing is given up, and found again. D-07
func TestASilentRedisIsGivenUp(t *testing.T) {
	t.Parallel()
	r := redis(t, daemon.RedisOptions{})
	a, b := start(t, r.URL(), "one"), start(t, r.URL(), "one")
	hears(t, "the start", a, b)
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	for range 100_000 {
		a.Ring()
	}
	until(t, "its silence is noticed", func() bool { return !a.Connected() && !b.Connected() })
	if err := r.Thaw(); err != nil {
		t.Fatal(err)
	}
	hears(t, "the thaw", a, b)
}

// A node that stops does not wait for a Redis that answers nothing.
func TestStoppingWaitsForNothing(t *testing.T) {
	t.Parallel()
	r := redis(t, daemon.RedisOptions{})
	patient := func(b *Bell) { b.option.Dialer.Timeout, b.option.ConnWriteTimeout = time.Hour, time.Hour }
	a := start(t, r.URL(), "one", patient)
	until(t, "it is connected", a.Connected)
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	start(t, r.URL(), "one", patient) // which is still greeting it
	a.Ring()
	// Both are stopped at the end, before Redis is.
}

// A new epoch is another channel, and all who know of it hear each other there.
func TestANewEpochIsFollowed(t *testing.T) {
	t.Parallel()
	r := redis(t, daemon.RedisOptions{})
	a, b := start(t, r.URL(), "one"), start(t, r.URL(), "one")
	hears(t, "the start", a, b)
	next := "two"
	a.epoch.Store(&next)
	b.epoch.Store(&next)
	until(t, "both have moved", func() bool {
		got, err := r.Do("PUBSUB", "NUMSUB", Prefix+next)
		return err == nil && got == Prefix+next+"\n2"
	})
	hears(t, "the new epoch", a, b)
}

// A certificate that nobody vouches for is refused, and one that somebody does is not.
func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	r := redis(t, daemon.RedisOptions{Password: "secret"})
	web := httptest.NewTLSServer(nil) // for its certificate, which is for example.com
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go pass(l, r.Socket())
	url := strings.Replace(r.URLAt(l.Addr().String()), "redis:", "rediss:", 1)
	if _, err := Try(t.Context(), url); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	trusting := func(b *Bell) {
		b.option.TLSConfig.RootCAs = x509.NewCertPool()
		b.option.TLSConfig.RootCAs.AddCert(web.Certificate())
	}
	a, b := start(t, url, "one", trusting), start(t, url, "one", trusting)
	hears(t, "the start", a, b)
}

func pass(l net.Listener, socket string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("unix", socket)
		if err != nil {
			_ = conn.Close()
			continue
		}
		go func() { _, _ = io.Copy(to, conn); _ = to.Close() }()
		go func() { _, _ = io.Copy(conn, to); _ = conn.Close() }()
	}
}

func TestURLs(t *testing.T) {
	for _, good := range []string{
		"redis://localhost", "redis://127.0.0.1:6380/", "redis://:password@cache.example.com:6379", "rediss://user:pass%2Fword@[::1]:6380",
		"unix:///run/redis/redis.sock", "unix://:password@/run/redis.sock",
	} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "localhost:6379", "redis:hunter2", "redis://", "redis://:hunter2@", "http://hunter2@localhost", "redis://localhost/hunter2",
		"rediss://localhost?skip_verify=true", "redis://localhost?dial_timeout=hunter2", "redis://localhost#hunter2", "redis://a:hunter2@b:c",
		"unix://host/run/redis.sock", "unix:run/redis.sock", "unix://", "redis://a:hunter2%zz@b", "redis-sentinel://localhost",
	} {
		if err := CheckURL(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := New(Config{URL: bad}); err == nil {
			t.Errorf("%q is taken for a Redis", bad)
		}
	}
}

// What does not work is told with its place, and without the password.
func TestTry(t *testing.T) {
	r := redis(t, daemon.RedisOptions{Password: "hunter2"})
	if place, err := Try(t.Context(), r.URL()); err != nil || place != r.Socket() {
		t.Errorf("%s: %v", place, err)
	}
	if _, err := r.Do("ACL", "SETUSER", "mute", "on", ">hunter2", "+@all", "allkeys", "resetchannels"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do("ACL", "SETUSER", "ours", "on", ">hunter2", "&"+Prefix+"*", "+hello", "+ping", "+subscribe", "+unsubscribe", "+publish"); err != nil {
		t.Fatal(err)
	}
	if _, err := Try(t.Context(), "unix://ours:hunter2@"+r.Socket()); err != nil {
		t.Errorf("a user who may do what is needed and no more: %v", err)
	}
	for what, url := range map[string]string{
		"a wrong password":         "unix://:hunter2-or-3@" + r.Socket(),
		"a user without a channel": "unix://mute:hunter2@" + r.Socket(),
		"nobody there":             "redis://:hunter2@127.0.0.1:1",
	} {
		if place, err := Try(t.Context(), url); err == nil || place == "" || strings.Contains(err.Error()+place, "hunter2") {
			t.Errorf("%s: at %q, %v", what, place, err)
		}
	}
}
