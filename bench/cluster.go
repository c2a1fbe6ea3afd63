package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/coatcheck/coatcheck/internal/daemon"
)

const (
	// clusterNodes are how many nodes there are on one database.
	clusterNodes = 3
	// clusterClients are how many refresh at once, and on how many connections the
	// database commits by itself.
	clusterClients = 32
	// clusterURL and clusterHost are what they are called, as behind a load balancer.
	clusterURL  = "http://" + clusterHost
	clusterHost = "127.0.0.1:1"
)

// A cluster is nodes on one PostgreSQL with its durable defaults.
type cluster struct {
	*rig
	secret   string // of all nodes
	postgres *daemon.Postgres
	redis    *daemon.Redis
}

// runCluster measures what is different where several nodes share a database.
func runCluster(ctx context.Context, r *rig) (figures []figure, err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand.Read ends the program instead
	c := &cluster{rig: r, secret: hex.EncodeToString(secret)}
	if c.postgres, err = daemon.StartPostgres(daemon.PostgresOptions{Durable: true}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.postgres.Close()) }()
	if c.redis, err = daemon.StartRedis(daemon.RedisOptions{}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.redis.Close()) }()
	for _, part := range []func(context.Context) ([]figure, error){c.refreshes, c.checks, c.idle, c.ends} {
		some, err := part(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

// nodes starts nodes on a new database. Stop each.
func (c *cluster) nodes(ctx context.Context, database string, n, core int, settings map[string]string) ([]*server, error) {
	if err := c.postgres.Create(database); err != nil {
		return nil, err
	}
	own := map[string]string{"database": c.postgres.URL(database), "secret": c.secret}
	if n > 1 {
		own["public_url"] = clusterURL
	}
	for name, value := range settings {
		own[name] = value
	}
	var all []*server
	for range n {
		s, err := c.serve(ctx, serving{Core: core, Settings: own})
		if err != nil {
			stopAll(all)
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func stopAll(all []*server) {
	for _, s := range all {
		s.stop()
	}
}

// refreshes measures refreshes at three nodes beside what the database commits by
// itself, on the same two cores: clients, nodes and database share them.
func (c *cluster) refreshes(ctx context.Context) ([]figure, error) {
	nodes, err := c.nodes(ctx, "refreshed", clusterNodes, anyCore, nil)
	if err != nil {
		return nil, err
	}
	defer stopAll(nodes)
	crowd, err := newRefreshCrowd(ctx, nodes)
	if err != nil {
		return nil, err
	}
	raw, err := c.commits(ctx)
	if err != nil {
		return nil, err
	}
	defer raw.close(ctx)
	inside, err := c.callers(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stopRoles(inside) }() // what was measured is measured
	return c.rounds(ctx, raw, crowd, inside)
}

// rounds measures how many there are a second, and what each costs the processors.
func (c *cluster) rounds(ctx context.Context, raw *rawPostgres, crowd *refreshCrowd, inside callerRoles) ([]figure, error) {
	var served, called []int
	for _, s := range crowd.nodes {
		served = append(served, s.PID())
	}
	for _, p := range inside {
		called = append(called, p.PID)
	}
	sides := []struct {
		measure func(context.Context, time.Duration) (float64, error)
		nodes   []int
		rates   []float64
		spent   spending
	}{{measure: raw.measure}, {measure: crowd.measure, nodes: served}, {measure: inside.measure, nodes: called}}
	for round := range c.Rounds + 1 {
		c.Note("refresh, round %d of %d", round, c.Rounds)
		for i := range sides {
			side := &sides[i]
			if round == 1 { // in the first, statements were prepared
				side.rates, side.spent = nil, spending{}
			}
			rate, err := c.spent(ctx, &side.spent, side.nodes, side.measure)
			if err != nil {
				return nil, err
			}
			side.rates = append(side.rates, rate)
		}
	}
	commits, overHTTP, inProcess := &sides[0], &sides[1], &sides[2]
	const against = "single-row commits of PostgreSQL on 32 connections"
	share := bar{Ratio: true, AtLeast: true, Limit: 0.7}
	return []figure{
		{Name: "refresh over HTTP at three nodes, 32 clients", Unit: "/s", Ours: overHTTP.rates, Against: against, Reference: commits.rates, Bar: share},
		{Name: "refresh in three processes without HTTP, 32 callers", Unit: "/s", Ours: inProcess.rates, Against: against, Reference: commits.rates, Bar: share},
		{Name: "processor of a single-row commit: PostgreSQL", Unit: "µs", Ours: commits.spent.database},
		{Name: "processor of a single-row commit: who asks", Unit: "µs", Ours: commits.spent.clients},
		{Name: "processor of a refresh over HTTP: PostgreSQL", Unit: "µs", Ours: overHTTP.spent.database},
		{Name: "processor of a refresh over HTTP: the nodes", Unit: "µs", Ours: overHTTP.spent.nodes},
		{Name: "processor of a refresh over HTTP: who asks", Unit: "µs", Ours: overHTTP.spent.clients},
		{Name: "processor of a refresh without HTTP: PostgreSQL", Unit: "µs", Ours: inProcess.spent.database},
		{Name: "processor of a refresh without HTTP: the nodes", Unit: "µs", Ours: inProcess.spent.nodes},
	}, nil
}

// rawPostgres is the reference: connections that commit a changed row each, one after
// the other.
type rawPostgres struct{ conns []*pgx.Conn }

func (c *cluster) commits(ctx context.Context) (*rawPostgres, error) {
	if err := c.postgres.Create("raw"); err != nil {
		return nil, err
	}
	raw := &rawPostgres{}
	for range clusterClients {
		conn, err := pgx.Connect(ctx, c.postgres.URL("raw"))
		if err != nil {
			raw.close(ctx)
			return nil, err
		}
		raw.conns = append(raw.conns, conn)
	}
	_, err := raw.conns[0].Exec(ctx, `CREATE TABLE one (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
		INSERT INTO one SELECT i, 0 FROM generate_series(1, 1000) i`)
	if err != nil {
		raw.close(ctx)
		return nil, err
	}
	return raw, nil
}

func (raw *rawPostgres) close(ctx context.Context) {
	for _, conn := range raw.conns {
		_ = conn.Close(ctx) // the database goes, too
	}
}

func (raw *rawPostgres) measure(ctx context.Context, slice time.Duration) (float64, error) {
	return sharedRate(len(raw.conns), slice, func(i int) error {
		_, err := raw.conns[i].Exec(ctx, `UPDATE one SET n = n + 1 WHERE id = $1`, i+1)
		return err
	})
}

// sharedRate lets callers call f with their index for so long, and returns how often a
// second all of them together did.
func sharedRate(callers int, slice time.Duration, f func(caller int) error) (float64, error) {
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, callers)
	begun := time.Now()
	for i := range callers {
		all.Go(func() {
			for errs[i] == nil && time.Since(begun) < slice {
				if errs[i] = f(i); errs[i] == nil {
					n.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(begun).Seconds(), errors.Join(errs...)
}

// checks measures checks of sessions that a node remembers, on a core of its own: what
// the log's tail costs it, and nothing else, is what a node on PostgreSQL does besides.
func (c *cluster) checks(ctx context.Context) ([]figure, error) {
	life := map[string]string{"token.access": "1h"}
	nodes, err := c.nodes(ctx, "checked", 1, serverCore, life)
	if err != nil {
		return nil, err
	}
	defer stopAll(nodes)
	alone, err := c.serve(ctx, serving{Core: serverCore, Settings: life})
	if err != nil {
		return nil, err
	}
	defer alone.stop()
	var rates [2][]float64
	var files [2]string
	for i, s := range []*server{nodes[0], alone} {
		if files[i], err = signInMany(ctx, s, 100); err != nil {
			return nil, err
		}
	}
	for round := range c.Rounds {
		c.Note("checks, round %d of %d", round+1, c.Rounds)
		for i, s := range []*server{nodes[0], alone} {
			rate, err := c.perProcessorSecond(ctx, s, files[i])
			if err != nil {
				return nil, err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	return []figure{{
		Name: "/v1/session at a node on PostgreSQL, remembered", Unit: "/s", Ours: rates[0], Against: "at a node on SQLite", Reference: rates[1],
		Bar: bar{Ratio: true, AtLeast: true, Limit: 0.95},
	}}, nil
}

// perProcessorSecond is how many checks a node answers in a second on its processor.
func (c *cluster) perProcessorSecond(ctx context.Context, s *server, cookies string) (float64, error) {
	before, err := processTime(s.PID())
	if err != nil {
		return 0, err
	}
	m, err := c.wrk(ctx, load{
		URL: s.URL + "/v1/session", Script: eachLine("Cookie", "coatcheck_dev=", cookies), Connections: 32, Duration: c.slice(),
	})
	if err != nil {
		return 0, err
	}
	after, err := processTime(s.PID())
	return float64(m.Requests) / (after - before).Seconds(), err
}

// idle measures what nodes cost the database when nothing happens.
func (c *cluster) idle(ctx context.Context) ([]figure, error) {
	nodes, err := c.nodes(ctx, "idle", clusterNodes, anyCore, nil)
	if err != nil {
		return nil, err
	}
	defer stopAll(nodes)
	postmaster, err := c.postgres.PID()
	if err != nil {
		return nil, err
	}
	var shares []float64
	for round := range c.Rounds + 1 {
		c.Note("idle, round %d of %d", round, c.Rounds)
		before := backendTime(postmaster, "idle")
		begun := time.Now()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(c.slice()):
		}
		share := 100 * (backendTime(postmaster, "idle") - before).Seconds() / time.Since(begun).Seconds() / clusterNodes
		if round > 0 { // in the first the nodes come to rest
			shares = append(shares, share)
		}
	}
	return []figure{{
		Name: "database processor for a node when nothing happens", Unit: "%", Ours: shares, Bar: bar{Limit: 1},
	}}, nil
}

// ends measures from the answer of an end at one node to its refusal by verifiers that
// follow another one.
func (c *cluster) ends(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, with := range []struct {
		name, database string
		settings       map[string]string
		p50, p99       float64
	}{
		{"without Redis", "ended", nil, 60, 150},
		{"with Redis", "ended_redis", map[string]string{"redis": c.redis.URL()}, 0, 50},
	} {
		e, err := c.ending(ctx, with.database, with.settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", with.name, err)
		}
		var p50, p99 []float64
		for range c.Rounds {
			middle, most, err := e.measure(ctx)
			if err != nil {
				e.close()
				return nil, fmt.Errorf("%s: %w", with.name, err)
			}
			p50, p99 = append(p50, middle), append(p99, most)
			c.Note("ends %s: p50 %.1f ms, p99 %.1f ms", with.name, middle, most)
		}
		e.close()
		name := "end at one node to refusal at another's verifiers, " + with.name
		figures = append(figures,
			figure{Name: name + ", p50", Unit: "ms", Ours: p50, Bar: bar{Limit: with.p50}},
			figure{Name: name + ", p99", Unit: "ms", Ours: p99, Bar: bar{Limit: with.p99}})
	}
	return figures, nil
}

// databaseOf is how PostgreSQL names the database of a backend among its processes.
func databaseOf(title, database string) bool {
	words := strings.Fields(strings.ReplaceAll(title, "\x00", " "))
	return len(words) > 2 && words[0] == "postgres:" && words[2] == database
}
