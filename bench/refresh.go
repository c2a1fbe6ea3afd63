package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

// refreshers are how many callers refresh at once, each a session of its own.
const refreshers = 64

// refreshPassword is of the one person whose sessions are refreshed.
const refreshPassword = "correct horse battery staple"

// runRefresh measures refreshes that are durable when they are answered, beside the
// driver's own single-row commits to a database with the same pragmas.
func runRefresh(ctx context.Context, r *rig) ([]figure, error) {
	slice := time.Second
	if r.Quick {
		slice = 300 * time.Millisecond
	}
	raw, err := openRaw(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	in, err := openRefreshing(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.app.Close() }()
	over, err := r.refreshServer(ctx)
	if err != nil {
		return nil, err
	}
	defer over.stop()

	var commits, inProcess, overHTTP []float64
	for round := range r.Rounds {
		r.Note("refresh, round %d of %d", round+1, r.Rounds)
		for _, one := range []struct {
			into    *[]float64
			measure func(context.Context, time.Duration) (float64, error)
		}{{&commits, raw.measure}, {&inProcess, in.measure}, {&overHTTP, over.measure}} {
			rate, err := one.measure(ctx, slice)
			if err != nil {
				return nil, err
			}
			*one.into = append(*one.into, rate)
		}
	}
	const against = "single-row commits of the SQLite driver, WAL, synchronous=FULL"
	return []figure{
		{Name: "refresh in process, 64 callers", Unit: "/s", Ours: inProcess, Against: against, Reference: commits, Bar: bar{Ratio: true, AtLeast: true, Limit: 4}},
		{Name: "refresh over HTTP, 64 connections, server and load a core each", Unit: "/s", Ours: overHTTP, Against: against, Reference: commits, Bar: bar{Ratio: true, AtLeast: true, Limit: 0.8}},
	}, nil
}

// rawCommits is the reference: one connection that commits one changed row after the
// other.
type rawCommits struct {
	*sql.DB
	update *sql.Stmt
}

func openRaw(ctx context.Context, r *rig) (*rawCommits, error) {
	dir, err := r.folder("raw")
	if err != nil {
		return nil, err
	}
	pragmas := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)", "journal_size_limit(67108864)", "temp_store(memory)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "raw.db")+"?"+pragmas.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE one (id BIGINT PRIMARY KEY, n BIGINT); INSERT INTO one VALUES (1, 0)`); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	update, err := db.PrepareContext(ctx, `UPDATE one SET n = n + 1 WHERE id = $1`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &rawCommits{db, update}, nil
}

func (c *rawCommits) measure(ctx context.Context, slice time.Duration) (float64, error) {
	n, begun := 0, time.Now()
	for time.Since(begun) < slice {
		if _, err := c.update.ExecContext(ctx, 1); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// perSecond lets 64 callers call refresh with their index for so long, and returns how
// often all of them together did.
func perSecond(slice time.Duration, refresh func(caller int) error) (float64, error) {
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, refreshers)
	begun := time.Now()
	for i := range refreshers {
		all.Go(func() {
			for errs[i] == nil && time.Since(begun) < slice {
				errs[i] = refresh(i)
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(begun).Seconds(), errors.Join(errs...)
}

// refreshing is the server in this process, without HTTP.
type refreshing struct {
	app    *app.App
	tokens [refreshers]string
}

func openRefreshing(ctx context.Context, r *rig) (*refreshing, error) {
	dir, err := r.folder("refresh")
	if err != nil {
		return nil, err
	}
	in := new(refreshing)
	if in.app, err = openApp(ctx, dir, "127.0.0.1:1"); err != nil {
		return nil, err
	}
	proof, err := in.app.Accounts.SignUp(ctx, account.NewUser{Email: "ada@example.com", Name: "Ada Lovelace", Password: refreshPassword}, from)
	for i := 0; i < refreshers && err == nil; i++ {
		var opened session.Opened
		opened, err = in.app.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedIn, Tokens: true})
		in.tokens[i] = opened.Tokens.Refresh
	}
	if err != nil {
		return nil, errors.Join(err, in.app.Close())
	}
	return in, nil
}

func (in *refreshing) measure(ctx context.Context, slice time.Duration) (float64, error) {
	return perSecond(slice, func(i int) error {
		t, err := in.app.Sessions.Refresh(ctx, session.RefreshRequest{
			Token: in.tokens[i], ClientID: session.FirstParty, Arrived: time.Now(), From: from,
		})
		in.tokens[i] = t.Refresh
		return err
	})
}

// refreshServer is the server as a process on one core, and the file of the refresh
// tokens with which the load on the other core goes on.
type refreshServer struct {
	*server
	tokens string
}

func (r *rig) refreshServer(ctx context.Context) (*refreshServer, error) {
	s, err := r.serve(ctx, serving{Core: serverCore})
	if err != nil {
		return nil, err
	}
	over := &refreshServer{s, filepath.Join(s.Dir, "refresh-tokens")}
	var list strings.Builder
	path := "/v1/sign-up"
	for range refreshers {
		var answer struct {
			Tokens struct {
				Refresh string `json:"refresh_token"`
			} `json:"tokens"`
		}
		err := post(ctx, http.DefaultClient, s.URL+path, map[string]string{"email": "ada@example.com", "password": refreshPassword, "transport": "token"}, &answer)
		if err != nil {
			s.stop()
			return nil, err
		}
		path = "/v1/sign-in"
		list.WriteString(answer.Tokens.Refresh + "\n")
	}
	return over, os.WriteFile(over.tokens, []byte(list.String()), 0o600)
}

func (s *refreshServer) measure(ctx context.Context, slice time.Duration) (float64, error) {
	p, err := startRole(ctx, loadCore, "refreshers", s.URL, s.tokens, slice.String())
	if err != nil {
		return 0, err
	}
	var rate float64
	_, err = fmt.Sscan(p.Ready, &rate)
	return rate, errors.Join(err, p.stop())
}

// refreshOverHTTP is the load: one connection for each token of a file, which refreshes
// it again and again. It prints how many refreshes a second that were, and leaves the
// tokens to go on with in the file.
func refreshOverHTTP(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 3)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	tokens := strings.Fields(string(text))
	if len(tokens) != refreshers {
		return fmt.Errorf("role refreshers: %d tokens, want %d", len(tokens), refreshers)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: refreshers, DisableCompression: true}}
	rate, err := perSecond(slice, func(i int) error {
		var answer struct {
			Tokens struct {
				Refresh string `json:"refresh_token"`
			} `json:"tokens"`
		}
		err := post(ctx, client, args[0]+"/v1/token/refresh", map[string]string{"refresh_token": tokens[i]}, &answer)
		tokens[i] = answer.Tokens.Refresh
		return err
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1], []byte(strings.Join(tokens, "\n")), 0o600); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, rate)
	return nil
}

// post sends and reads JSON. Any status but 2xx is an error.
func post(ctx context.Context, client *http.Client, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(bufio.NewReader(answer.Body))
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s: %s", url, answer.Status, text)
	}
	return json.Unmarshal(text, out)
}
