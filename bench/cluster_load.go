package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

// through is a client that is led to one node by the name of all.
func through(s *server) *http.Client {
	return &http.Client{Transport: leadTo{clusterHost, s.Address}, Timeout: 30 * time.Second}
}

// leadTo sends to another address what is addressed to one.
type leadTo struct{ from, to string }

func (l leadTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == l.from {
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = l.from, l.to
	}
	return http.DefaultTransport.RoundTrip(r)
}

// signInTo signs a person in, or up the first time, and returns the refresh token.
func signInTo(ctx context.Context, s *server, path, email string) (string, error) {
	var answer struct {
		Tokens struct {
			Refresh string `json:"refresh_token"`
		} `json:"tokens"`
	}
	err := post(ctx, through(s), clusterURL+path, map[string]string{"email": email, "password": refreshPassword, "transport": "token"}, &answer)
	return answer.Tokens.Refresh, err
}

// signInMany makes n sessions with cookies, and returns the file that holds them.
func signInMany(ctx context.Context, s *server, n int) (string, error) {
	cookies := make([]string, n)
	for i := range cookies {
		path := "/v1/sign-in"
		if i == 0 {
			path = "/v1/sign-up"
		}
		var err error
		if cookies[i], err = cookieFrom(ctx, s, path); err != nil {
			return "", err
		}
	}
	file := filepath.Join(s.Dir, "cookies")
	return file, writeLines(file, cookies)
}

// A refreshCrowd is clients that refresh at one node after the other, each a session of
// its own. They speak plain HTTP over connections of their own, so that they take as
// little as can be of the processors that they share with what is measured.
type refreshCrowd struct {
	nodes   []*server
	clients []*refreshClient
}

type refreshClient struct {
	token string
	next  int // which node
	nodes []nodeConn
}

type nodeConn struct {
	conn net.Conn
	in   *bufio.Reader
}

func newRefreshCrowd(ctx context.Context, nodes []*server) (*refreshCrowd, error) {
	crowd := &refreshCrowd{nodes: nodes}
	for i := range clusterClients {
		path := "/v1/sign-in"
		if i == 0 {
			path = "/v1/sign-up"
		}
		token, err := signInTo(ctx, nodes[i%len(nodes)], path, "ada@example.com")
		if err != nil {
			return nil, err
		}
		crowd.clients = append(crowd.clients, &refreshClient{token: token, next: i})
	}
	return crowd, nil
}

// measure connects all clients and has them refresh for so long.
func (c *refreshCrowd) measure(ctx context.Context, slice time.Duration) (float64, error) {
	for _, client := range c.clients {
		client.nodes = nil
		for _, s := range c.nodes {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
			if err != nil {
				return 0, err
			}
			defer func() { _ = conn.Close() }() // what was measured is measured
			client.nodes = append(client.nodes, nodeConn{conn, bufio.NewReader(conn)})
		}
	}
	return sharedRate(len(c.clients), slice, func(i int) error { return c.clients[i].refresh() })
}

// refresh renews at the next node.
func (c *refreshClient) refresh() error {
	node := c.nodes[c.next%len(c.nodes)]
	c.next++
	body := `{"refresh_token":"` + c.token + `"}`
	_, err := io.WriteString(node.conn, "POST /v1/token/refresh HTTP/1.1\r\nHost: "+clusterHost+
		"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
	if err != nil {
		return err
	}
	answer, err := http.ReadResponse(node.in, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	_, rest, found := strings.Cut(string(text), `"refresh_token":"`)
	token, _, ended := strings.Cut(rest, `"`)
	if answer.StatusCode != http.StatusOK || !found || !ended {
		return fmt.Errorf("a refresh is answered %s: %s", answer.Status, text)
	}
	c.token = token
	return nil
}

// clusterCallers are the callers of each process without HTTP.
var clusterCallers = [clusterNodes]int{11, 11, 10}

// A callerRoles is nodes without HTTP, each a process.
type callerRoles []*process

func (c *cluster) callers(ctx context.Context) (callerRoles, error) {
	if err := c.postgres.Create("called"); err != nil {
		return nil, err
	}
	var all callerRoles
	for i, n := range clusterCallers {
		p, err := startRole(ctx, anyCore, "cluster-callers", c.postgres.URL("called"), c.secret, strconv.Itoa(i), strconv.Itoa(n))
		if err != nil {
			return nil, errors.Join(err, stopRoles(all))
		}
		all = append(all, p)
	}
	return all, nil
}

func stopRoles(all []*process) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

func (all callerRoles) measure(_ context.Context, slice time.Duration) (float64, error) {
	rates := make(chan float64, len(all))
	failed := make(chan error, len(all))
	for _, p := range all {
		go func() {
			answer, err := p.ask(slice.String())
			if err == nil && len(answer) != 1 {
				err = errors.New("no rate was told")
			}
			if err != nil {
				failed <- err
				return
			}
			rates <- answer[0]
		}()
	}
	var sum float64
	for range all {
		select {
		case rate := <-rates:
			sum += rate
		case err := <-failed:
			return 0, err
		}
	}
	return sum, nil
}

// refreshInProcess is the role of a node without HTTP: args are the database, the secret, which
// node it is, and how many callers it has. For each line, which says how long, it answers how
// many refreshes a second that were.
func refreshInProcess(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("want a database, a secret, a number and a number of callers")
	}
	callers, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	config, err := app.Configure(map[string]string{
		"public_url": clusterURL, "listen": "127.0.0.1:1", "database": args[0], "secret": args[1], "verify_email": "optional",
	})
	if err != nil {
		return err
	}
	a, err := app.New(ctx, app.Options{Config: config, Hash: &quickHash})
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // what was measured is measured
	proof, err := a.Accounts.SignUp(ctx, account.NewUser{Email: "ada" + args[2] + "@example.com", Name: "Ada Lovelace", Password: refreshPassword}, from)
	if err != nil {
		return err
	}
	tokens := make([]string, callers)
	for i := range tokens {
		opened, err := a.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedIn, Tokens: true})
		if err != nil {
			return err
		}
		tokens[i] = opened.Tokens.Refresh
	}
	fmt.Fprintln(os.Stdout, "ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		slice, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		rate, err := sharedRate(callers, slice, func(i int) error {
			t, err := a.Sessions.Refresh(ctx, session.RefreshRequest{Token: tokens[i], ClientID: session.FirstParty, Arrived: time.Now(), From: from})
			tokens[i] = t.Refresh
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, rate)
	}
	return nil
}

// clusterEnds is two nodes: sessions are ended at the first, and verifiers follow the
// second.
type clusterEnds struct {
	*ender
	nodes []*server
	n     int
}

func (c *cluster) ending(ctx context.Context, database string, settings map[string]string) (*clusterEnds, error) {
	nodes, err := c.nodes(ctx, database, 2, anyCore, settings)
	if err != nil {
		return nil, err
	}
	first := &server{URL: clusterURL, APIKey: nodes[0].APIKey}
	e := &clusterEnds{nodes: nodes, n: 150, ender: &ender{server: first, http: through(nodes[0]), answered: map[string]time.Time{}}}
	if c.Quick {
		e.n = 30
	}
	for range sampled {
		v, err := coatcheck.NewVerifier(coatcheck.Config{
			Issuer: clusterURL, Audience: clusterURL, APIKey: nodes[1].APIKey, HTTPClient: &http.Client{Transport: leadTo{clusterHost, nodes[1].Address}}, Logger: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			e.real = append(e.real, v)
			err = v.Ready(ctx)
		}
		if err != nil {
			e.close()
			return nil, err
		}
	}
	return e, nil
}

func (e *clusterEnds) close() {
	for _, v := range e.real {
		v.Close()
	}
	e.http.CloseIdleConnections()
	stopAll(e.nodes)
}

// measure ends sessions, at times that have nothing to do with when nodes look at the
// log, and returns p50 and p99 in ms.
func (e *clusterEnds) measure(ctx context.Context) (p50, p99 float64, err error) {
	all := make([]victim, e.n)
	for i := range all {
		if all[i], err = e.signIn(ctx); err != nil {
			return 0, 0, err
		}
		for _, v := range e.real {
			if _, err := v.Verify(ctx, all[i].token); err != nil {
				return 0, 0, fmt.Errorf("before its end: %w", err)
			}
		}
	}
	e.asked, e.failed = nil, nil
	for i, one := range all {
		e.end(ctx, one)
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(time.Duration(i*7919%23) * time.Millisecond):
		}
	}
	if e.failed != nil {
		return 0, 0, e.failed
	}
	ms := make([]float64, len(e.asked))
	for i, d := range e.asked {
		ms[i] = float64(d.Microseconds()) / 1e3
	}
	slices.Sort(ms)
	return ms[len(ms)/2], ms[len(ms)*99/100], nil
}

// backendTime is how long the backends of a database were on a processor.
func backendTime(postmaster int, database string) time.Duration {
	var sum time.Duration
	for _, pid := range family(postmaster)[1:] {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !databaseOf(string(title), database) {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue // it has ended
		}
		on, _, _ := strings.Cut(string(text), " ")
		nanos, _ := strconv.ParseInt(on, 10, 64) // it is a number
		sum += time.Duration(nanos)
	}
	return sum
}
