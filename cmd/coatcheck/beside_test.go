package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A neighbour is a server that runs while commands act on its database.
type neighbour struct {
	t   *testing.T
	url string
	db  string
	app *app.App
}

func startNeighbour(t *testing.T) *neighbour {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &neighbour{t: t, url: "http://" + l.Addr().String(), db: "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db")}
	config, err := app.Configure(map[string]string{"public_url": n.url, "database": n.db})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.app, err = app.New(ctx, app.Options{
		Config: config, Logger: slog.New(slog.DiscardHandler), Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- n.app.Serve(ctx, l, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

// command runs a command beside the server and returns what it prints.
func (n *neighbour) command(args ...string) string {
	n.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--database", n.db, "--public-url", n.url)
	if status := run(n.t.Context(), args, nil, strings.NewReader(""), &out, &errs); status != exitOK {
		n.t.Fatalf("%v: status %d: %s", args, status, &errs)
	}
	return out.String()
}

// signIn begins a session, and has the server remember its cookie.
func (n *neighbour) signIn(email string) session.Opened {
	n.t.Helper()
	from := audit.Origin{IP: "192.0.2.1"}
	person := account.NewUser{Email: email, Password: "rain on a tin roof at night"}
	proof, err := n.app.Accounts.SignUp(n.t.Context(), person, from)
	if err != nil {
		n.t.Fatal(err)
	}
	opened, err := n.app.Sessions.Begin(n.t.Context(), proof, session.Opening{From: from, Event: audit.SignedUp, Cookie: true, Tokens: true})
	if err != nil {
		n.t.Fatal(err)
	}
	if status, code := n.ask("/v1/session", "Cookie", "coatcheck_dev="+opened.Cookie); status != http.StatusOK {
		n.t.Fatalf("a new session: %d %s", status, code)
	}
	if status, code := n.ask("/v1/session", "Authorization", "Bearer "+opened.Tokens.Access); status != http.StatusOK {
		n.t.Fatalf("a new token: %d %s", status, code)
	}
	return opened
}

// ask returns the status and the fault's code.
func (n *neighbour) ask(path, header, value string) (int, string) {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.url+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set(header, value)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(text, &problem) // a success has no code
	return answer.StatusCode, problem.Code
}

// felt waits until the server answers the credential with this code.
func (n *neighbour) felt(what, header, value, want string) {
	n.t.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		status, code := n.ask("/v1/session", header, value)
		if code == want {
			n.t.Logf("%s is felt after %s", what, time.Since(began).Round(time.Millisecond))
			return
		}
		if status != http.StatusOK {
			n.t.Fatalf("%s: the server answers %d %s, want %s", what, status, code, want)
		}
		<-tick.C
	}
	n.t.Fatalf("%s is never felt", what)
}

// What a command does is felt by a running server through the revocation log, also
// for what it remembers.
func TestCommandsAreFeltByARunningServer(t *testing.T) {
	t.Parallel()
	n := startNeighbour(t)
	ada, bob, eve := n.signIn("ada@example.com"), n.signIn("bob@example.com"), n.signIn("eve@example.com")
	cookie := func(o session.Opened) string { return "coatcheck_dev=" + o.Cookie }
	bearer := func(o session.Opened) string { return "Bearer " + o.Tokens.Access }

	n.command("session", "end", ada.Standing.Session.ID)
	n.felt("session end", "Cookie", cookie(ada), "session_ended")
	n.felt("session end", "Authorization", bearer(ada), "session_ended")
	if status, code := n.ask("/v1/session", "Cookie", cookie(bob)); status != http.StatusOK {
		t.Errorf("V-53 another's session: %d %s", status, code)
	}

	n.command("user", "disable", "bob@example.com")
	n.felt("user disable", "Cookie", cookie(bob), "session_ended")
	n.felt("user disable", "Authorization", bearer(bob), "session_ended")

	n.command("key", "rotate", "--now")
	n.felt("key rotate --now", "Authorization", bearer(eve), "token_expired")
	if status, code := n.ask("/v1/session", "Cookie", cookie(eve)); status != http.StatusOK {
		t.Errorf("the session of a distrusted token: %d %s", status, code)
	}

	grace := n.signIn("grace@example.com") // by a key made since
	n.command("session", "end", "--all", "--yes")
	n.felt("session end --all", "Cookie", cookie(grace), "session_ended")
	n.felt("session end --all", "Authorization", bearer(grace), "session_ended")
}

// Removing an API key cuts its streams and refuses it.
func TestRemovedAPIKeyIsCut(t *testing.T) {
	t.Parallel()
	n := startNeighbour(t)
	var made struct{ ID, Key string }
	if err := json.Unmarshal([]byte(n.command("apikey", "add", "--name", "orders", "--scope", "revocations", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	follow := func() *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/v1/revocations", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+made.Key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	stream := follow()
	defer stream.Body.Close()
	if stream.StatusCode != http.StatusOK {
		t.Fatalf("stream: %s", stream.Status)
	}
	n.command("apikey", "remove", made.ID)
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream is not ended: %v", err)
	}
	again := follow()
	defer again.Body.Close()
	if again.StatusCode != http.StatusUnauthorized {
		t.Errorf("the removed key: %s", again.Status)
	}
}

func TestTokenInspectByIssuer(t *testing.T) {
	t.Parallel()
	n := startNeighbour(t)
	ada := n.signIn("ada@example.com")
	var out bytes.Buffer
	status := run(t.Context(), []string{"token", "inspect", ada.Tokens.Access, "--issuer", n.url}, nil, nil, &out, &out)
	if status != exitOK || !strings.Contains(out.String(), "Whether its session has ended only the issuer can tell.") {
		t.Errorf("status %d: %s", status, &out)
	}
	out.Reset()
	status = run(t.Context(), []string{"token", "inspect", ada.Tokens.Access, "--issuer", n.url, "--audience", "orders"}, nil, nil, &out, &out)
	if status != exitFailed || !strings.Contains(out.String(), `and not for "orders"`) {
		t.Errorf("status %d: %s", status, &out)
	}
	if out := n.command("doctor", "--listen", strings.TrimPrefix(n.url, "http://")); strings.Contains(out, "serious") {
		t.Errorf("the doctor beside a good server: %s", out)
	}
}
