package drill

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver by which the test looks into the database

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// A trio are three nodes in this process, over one PostgreSQL.
type trio struct {
	nodes     []*app.App
	clients   []*client // one for each node
	addresses []string  // of the nodes
	public    string    // the URL that they share
	db        *sql.DB
	guests    atomic.Int64 // network addresses so far
}

// trioOptions say how a trio differs from the usual one.
type trioOptions struct {
	Settings map[string]string // by their name in docs/configuration.md, for every node
	Now      func() time.Time  // the clock of all nodes and of what is stored; nil: the wall, and the database's own
}

// startTrio starts them with hashes that take microseconds, throttles out of the way,
// and mails that go nowhere. They are known by the first one's address.
func startTrio(t *testing.T, o trioOptions) *trio {
	t.Helper()
	address := storetest.Postgres(t)
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	three := &trio{db: db}
	settings := map[string]string{
		"database": address, "secret": newKey() + newKey(), "verify_email": "optional", "hash.slots": strconv.Itoa(callers),
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
	}
	maps.Copy(settings, o.Settings)
	for range 3 {
		settings["listen"] = freeAddress(t)
		if three.public == "" {
			three.public = "http://" + settings["listen"]
			settings["public_url"] = three.public
		}
		three.start(t, settings, o.Now)
	}
	_, key, err := three.nodes[0].Accounts.AddAPIKey(t.Context(), "drill", account.Scopes, "system", app.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range three.clients {
		c.APIKey = key
		until(t, 30*time.Second, "a node is ready", func() bool { return c.call(t.Context(), http.MethodGet, "/readyz", nil).OK() })
	}
	return three
}

// start adds a node.
func (three *trio) start(t *testing.T, settings map[string]string, now func() time.Time) {
	t.Helper()
	config, err := app.Configure(settings)
	if err != nil {
		t.Fatal(err)
	}
	life, end := context.WithCancel(context.Background())
	a, err := app.New(life, app.Options{
		Config: config, Now: now, Transport: mail.Nowhere{}, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		end()
		t.Fatal(err)
	}
	public, _, err := a.Listen(t.Context())
	if err != nil {
		end()
		t.Fatal(err, a.Close())
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(life, public, nil) }()
	c := newClientAt(three.public, settings["listen"])
	t.Cleanup(func() {
		end()
		if err := <-served; err != nil {
			t.Errorf("stop: %v", err)
		}
		c.close()
	})
	three.nodes, three.clients = append(three.nodes, a), append(three.clients, c)
	three.addresses = append(three.addresses, settings["listen"])
}

// guest is somebody whom no node has heard of.
func (three *trio) guest() audit.Origin {
	n := three.guests.Add(1)
	return audit.Origin{IP: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)}
}

// ask puts a request to the node whose turn it is, from an address of its own.
func (three *trio) ask(turn int, r *http.Request) answer {
	r.RemoteAddr = three.guest().IP + ":4000"
	r.Header.Set("Origin", three.public)
	w := httptest.NewRecorder()
	three.nodes[turn%len(three.nodes)].Handler().ServeHTTP(w, r)
	a := answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
	var problem struct{ Code string }
	if a.Status >= 400 && json.Unmarshal(a.Body, &problem) == nil {
		a.Code = problem.Code
	}
	return a
}

// json is a request with a body of JSON.
func (three *trio) json(path string, body any, options ...with) *http.Request {
	text, _ := json.Marshal(body) // maps of text
	r := httptest.NewRequest(http.MethodPost, three.public+path, strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	for _, o := range options {
		o(r)
	}
	return r
}

// atOnce puts one request each to the nodes in turn, all at the same time.
func (three *trio) atOnce(request func(caller int) *http.Request) []answer {
	answers := make([]answer, callers)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		r := request(i)
		all.Go(func() {
			<-start
			answers[i] = three.ask(i, r)
		})
	}
	close(start)
	all.Wait()
	return answers
}

// number reads one number from the database.
func (three *trio) number(t *testing.T, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := three.db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// person adds an account.
func (three *trio) person(t *testing.T) account.User {
	t.Helper()
	u, err := three.nodes[0].Accounts.Add(t.Context(), account.NewUser{Email: newEmail(), Password: password}, "system", app.Origin)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// mailed returns what the links of a kind to an address are opened by, as the mailer
// knows it.
func (three *trio) mailed(t *testing.T, kind account.LinkKind, email string) (tokens, codes []string) {
	t.Helper()
	a := three.nodes[1]
	rows, err := three.db.QueryContext(t.Context(), `SELECT id FROM link WHERE kind = $1 AND email = $2 AND NOT decoy AND spent_at IS NULL`, string(kind), email)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		token, code := a.Accounts.LinkText(id, kind)
		tokens, codes = append(tokens, token), append(codes, code)
	}
	if rows.Err() != nil || len(tokens) == 0 {
		t.Fatalf("no %s link to %s: %v", kind, email, rows.Err())
	}
	return tokens, codes
}
