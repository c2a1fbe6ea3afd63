package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/app"
)

// serveSessions is the role of a Coatcheck server with n live sessions, all of which
// it has seen: args are a folder of its own and n. It takes what cores there are until
// it is ready, and one from then on. The cookies are in a file in the folder.
func serveSessions(ctx context.Context, args []string) error {
	dir, n, err := sizeOf(args)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	cookies, err := fill(ctx, dir, address, n)
	if err != nil {
		return err
	}
	a, err := openApp(ctx, dir, address)
	if err != nil {
		return err
	}
	public, _, err := a.Listen(ctx)
	if err == nil {
		err = see(ctx, a, cookies)
	}
	if err == nil {
		err = writeLines(filepath.Join(dir, "cookies"), cookies)
	}
	if err == nil {
		err = stay(ctx, serverCore)
	}
	if err != nil {
		return errors.Join(err, a.Close())
	}
	fmt.Fprintln(os.Stdout, address)
	return a.Serve(ctx, public, nil)
}

func sizeOf(args []string) (dir string, n int, err error) {
	if len(args) != 2 {
		return "", 0, errors.New("want a folder and a number of sessions")
	}
	n, err = strconv.Atoi(args[1])
	return args[0], n, err
}

// see checks every cookie once, so that all are remembered.
func see(ctx context.Context, a *app.App, cookies []string) error {
	const workers = 2
	failed := make(chan error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(cookies); i += workers {
				if _, err := a.Sessions.CheckCookie(ctx, cookies[i]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// A floorSession is what the floor knows of a session.
type floorSession struct{ ordinal, email string }

// A floor is what no check of a session over HTTP can be cheaper than: it reads the
// cookie, hashes the secret, looks it up and answers what we do, in the plainest way.
type floor struct {
	body   string // of /v1/session: as many bytes as ours has
	shards [256]struct {
		mu       sync.RWMutex
		sessions map[[32]byte]*floorSession
	}
}

// serveFloor is the role of the floor handler with n sessions: args are a folder of
// its own and n. The cookies are in a file there.
func serveFloor(ctx context.Context, args []string) error {
	dir, n, err := sizeOf(args)
	if err != nil {
		return err
	}
	f, cookies := newFloor(n)
	shuffle(cookies)
	if err := writeLines(filepath.Join(dir, "cookies"), cookies); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/forward-auth", f.forwardAuth)
	mux.HandleFunc("GET /v1/session", f.session)
	mux.HandleFunc("GET /one-header", f.oneHeader)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Minute}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve tells
	if err := stay(ctx, serverCore); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, address)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newFloor returns a floor with n sessions, and their cookies.
func newFloor(n int) (*floor, []string) {
	f := &floor{body: strings.Repeat("x", floorBody)}
	cookies := make([]string, n)
	for i := range n {
		secret := secretOf(i)
		hash := sha256.Sum256(secret[:])
		s := &floorSession{email: "person" + strconv.Itoa(i) + "@example.com"}
		cookies[i], s.ordinal = cookieOf(i)
		shard := &f.shards[hash[0]]
		if shard.sessions == nil {
			shard.sessions = make(map[[32]byte]*floorSession)
		}
		shard.sessions[hash] = s
	}
	return f, cookies
}

// known returns the session of a cookie, or nil.
func (f *floor) known(cookie string) *floorSession {
	if len(cookie) != 73 {
		return nil
	}
	secret, err := base64.RawURLEncoding.DecodeString(cookie[30:])
	if err != nil {
		return nil
	}
	hash := sha256.Sum256(secret)
	shard := &f.shards[hash[0]]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.sessions[hash]
}

// find returns the session of the request's cookie, or answers 401.
func (f *floor) find(w http.ResponseWriter, r *http.Request) *floorSession {
	if cookie, err := r.Cookie("coatcheck_dev"); err == nil {
		if s := f.known(cookie.Value); s != nil {
			return s
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
	return nil
}

// floorBody is how many bytes our answer of /v1/session has for these people.
const floorBody = 470

func (f *floor) forwardAuth(w http.ResponseWriter, r *http.Request) {
	s := f.find(w, r)
	if s == nil {
		return
	}
	h := w.Header()
	floorHeaders(h)
	h.Set("X-Auth-User", "usr_"+s.ordinal)
	h.Set("X-Auth-Session", "ses_"+s.ordinal)
	h.Set("X-Auth-Email", s.email)
	w.WriteHeader(http.StatusOK)
}

func (f *floor) session(w http.ResponseWriter, r *http.Request) {
	s := f.find(w, r)
	if s == nil {
		return
	}
	h := w.Header()
	floorHeaders(h)
	h.Set("Vary", "Origin")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(f.body)) // the client has gone
}

// oneHeader answers as many bytes as forwardAuth, most of them in one header.
func (f *floor) oneHeader(w http.ResponseWriter, r *http.Request) {
	s := f.find(w, r)
	if s == nil {
		return
	}
	w.Header().Set("X-Auth-User", "usr_"+s.ordinal)
	w.Header().Set("X-Rest", f.body[:420])
	w.WriteHeader(http.StatusOK)
}

// floorHeaders are those of every answer of ours.
func floorHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", "0123456789abcdefghij")
}
