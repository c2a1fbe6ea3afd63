package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A rememberedStore has n sessions of as many people, and reads them off their ids:
// checks of what is remembered never ask it.
type rememberedStore struct {
	session.Store
	session.UpkeepStore
	begun time.Time
}

// secretOf is the cookie's secret of the n-th session.
func secretOf(n int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("secret"), uint64(n)))
}

// cookieOf is the cookie of the n-th session, and the 26 characters of its id.
func cookieOf(n int) (cookie, ordinal string) {
	secret := secretOf(n)
	hash := sha256.Sum256(secret[:])
	ordinal = ordinalOf(n, hash[:8])
	return "cks_" + ordinal + base64.RawURLEncoding.EncodeToString(secret[:]), ordinal
}

// OfSession returns a session as those of a database are.
func (s *rememberedStore) OfSession(_ context.Context, id string) (session.Standing, error) {
	ordinal := strings.TrimPrefix(id, "ses_")
	n, err := strconv.Atoi(ordinal[:10])
	if err != nil {
		return session.Standing{}, err
	}
	secret, user := secretOf(n), "usr_"+ordinal
	return session.Standing{
		Session: session.Session{
			ID: id, UserID: user, SecretHash: sha256.Sum256(secret[:]), CreatedAt: s.begun, LastSeenAt: s.begun, Idle: 7 * 24 * time.Hour,
			ExpiresAt: s.begun.Add(30 * 24 * time.Hour), AuthTime: s.begun.Unix(), AMR: []string{"pwd"}, ACR: "aal1", IP: from.IP, UserAgent: from.UserAgent,
		},
		User: account.User{
			ID: user, Email: "person" + strconv.Itoa(n) + "@example.com", EmailVerified: true, Name: "Ada Lovelace", CreatedAt: s.begun,
		},
		Client: session.ClientTerms{ID: session.FirstParty, FirstParty: true, Access: time.Hour},
		Now:    s.begun,
	}, nil
}

// Touch writes nothing.
func (s *rememberedStore) Touch(context.Context, []session.Seen) error { return nil }

// The regulars are n sessions that a manager remembers, and their cookies in the order of
// use, one behind the other, as requests bring them.
type regulars struct {
	manager *session.Manager
	n       int
	cookies string
	length  int     // of one cookie
	each    float64 // bytes of one remembered session
	bare    *floor  // made when it is asked for, so that its memory is not counted
}

// newRegulars has n sessions checked until all are remembered.
func newRegulars(ctx context.Context, a *app.App, n int) (*regulars, error) {
	now := app.SteadyClock()
	store := &rememberedStore{begun: now()}
	m, err := session.New(session.Config{Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Access: 24 * time.Hour, Cached: n + n/4},
		session.Stores{Sessions: store, Upkeep: store}, a.Ring, a.Log, make([]byte, 32), now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	cookies := make([]string, n)
	for i := range cookies {
		cookies[i], _ = cookieOf(i)
	}
	shuffle(cookies)
	c := &regulars{manager: m, n: n, cookies: strings.Join(cookies, ""), length: len(cookies[0])}
	cookies = nil
	before := liveHeap()
	for range 2 { // the second time, all are remembered
		for i := range n {
			if err := c.check(ctx, i); err != nil {
				return nil, err
			}
		}
	}
	c.each = (liveHeap() - before) / float64(n)
	return c, nil
}

func (c *regulars) cookie(i int) string { return c.cookies[i*c.length : (i+1)*c.length] }

func (c *regulars) check(ctx context.Context, i int) error {
	_, err := c.manager.CheckCookie(ctx, c.cookie(i))
	return err
}

// floor returns the look-up that a session check cannot do without.
func (c *regulars) floor() func(context.Context, int) error {
	if c.bare == nil {
		c.bare, _ = newFloor(c.n)
	}
	return c.lookUp
}

func (c *regulars) lookUp(_ context.Context, i int) error {
	if c.bare.known(c.cookie(i)) == nil {
		return errors.New("the floor does not know a session")
	}
	return nil
}

// serveRemembered is the role of a process with n sessions that are remembered and
// none in a database: args are a folder of its own and n. It answers the lines
// "check" by the nanoseconds and the allocations of one check, "floor" by those of a
// bare look-up, and "memory" by the bytes of one remembered session.
func serveRemembered(ctx context.Context, args []string) error {
	dir, n, err := sizeOf(args)
	if err != nil {
		return err
	}
	a, err := openApp(ctx, dir, "127.0.0.1:9")
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // nothing is written
	go a.Log.Follow(ctx)
	c, err := newRegulars(ctx, a, n)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	at := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		call := c.check
		switch lines.Text() {
		case "memory":
			fmt.Fprintln(os.Stdout, c.each)
			continue
		case "floor":
			call = c.floor()
		}
		nanos, allocs, err := costOf(func() error {
			if at++; at == n {
				at = 0
			}
			return call(ctx, at)
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, nanos, allocs)
	}
	return nil
}

// costOf returns the nanoseconds and the allocations of one call, of many within a
// second. The time is the thread's on a processor, so that neighbours do not count.
func costOf(call func() error) (nanos, allocs float64, err error) {
	const step, enough = 10_000, time.Second
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, begun, used := 0, threadTime(), time.Duration(0)
	for ; used < enough; used = threadTime() - begun {
		for range step {
			if err := call(); err != nil {
				return 0, 0, err
			}
		}
		n += step
	}
	runtime.ReadMemStats(&after)
	return float64(used) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}

// threadTime is how long this thread has been on a processor.
func threadTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(rusageThread, &u) // cannot fail: both arguments are good
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rusageThread is RUSAGE_THREAD of Linux, which the package syscall does not name.
const rusageThread = 1

// liveHeap is what is in use after a collection, in bytes.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
