package drill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// nextVersion writes a migration that comes after those of this binary and serves it,
// and returns the environment of a node of the version that knows it.
func (c *cluster) nextVersion(t *testing.T, text string) (env string, version int64) {
	t.Helper()
	before := c.question(t, `SELECT max(version) FROM schema_migration`)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "migrations"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "migrations", fmt.Sprintf("%04d_next.sql", before+1))
	if err := os.WriteFile(name, fmt.Appendf(nil, "-- serves: %d\n%s", before, text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "DRILL_MIGRATIONS=" + dir, before + 1
}

// upgrade replaces a node by one with another environment.
func (n *clusterNode) upgrade(t *testing.T, env ...string) {
	t.Helper()
	if err := n.Stop(t); err != nil {
		t.Errorf("stop: %v", err)
	}
	n.options.Env = env
}

// fill adds sessions with their grants like one that is there, five to an account.
func (c *cluster) fill(t *testing.T, like *holder, count int) {
	t.Helper()
	for _, more := range []struct {
		statement, like string
		count           int
	}{
		{`
		INSERT INTO account SELECT (jsonb_populate_record(a, jsonb_build_object(
			'id', 'usr_filled_' || i, 'email', 'filled' || i || '@example.com', 'email_key', 'filled' || i || '@example.com'))).*
		FROM account a, generate_series(0, $2) i WHERE a.id = $1`, like.UserID, count / 5},
		{`
		INSERT INTO session SELECT (jsonb_populate_record(s, jsonb_build_object('id', 'ses_filled_' || i, 'account_id', 'usr_filled_' || i / 5))).*
		FROM session s, generate_series(1, $2) i WHERE s.id = $1`, like.SessionID, count},
		{`
		INSERT INTO session_grant
		SELECT (jsonb_populate_record(g, jsonb_build_object('id', 'grt_filled_' || i, 'session_id', 'ses_filled_' || i))).*
		FROM session_grant g, generate_series(1, $2) i WHERE g.session_id = $1`, like.SessionID, count},
	} {
		if _, err := c.Admin.ExecContext(t.Context(), more.statement, more.like, more.count); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Admin.ExecContext(t.Context(), `ANALYZE account, session, session_grant`); err != nil {
		t.Fatal(err)
	}
}

// empty removes what fill has added.
func (c *cluster) empty(t *testing.T) {
	t.Helper()
	for _, filled := range []string{
		`DELETE FROM session WHERE id >= 'ses_filled_' AND id < 'ses_filled_z'`,
		`DELETE FROM account WHERE id >= 'usr_filled_' AND id < 'usr_filled_z'`,
	} {
		if _, err := c.Admin.ExecContext(t.Context(), filled); err != nil {
			t.Fatal(err)
		}
	}
}

// watchLocks looks all the time for how long anybody has waited for a lock, and returns
// what tells the longest wait so far.
func (c *cluster) watchLocks(t *testing.T) (longest func() time.Duration) {
	t.Helper()
	const waiting = `SELECT CAST(COALESCE(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) * 1000 AS BIGINT)
		FROM pg_locks WHERE locktype = 'relation' AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var most int64
	var all sync.WaitGroup
	all.Go(func() {
		conn, err := c.Admin.Conn(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for ctx.Err() == nil {
			var ms int64
			if err := conn.QueryRowContext(ctx, waiting).Scan(&ms); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			mu.Lock()
			most = max(most, ms)
			mu.Unlock()
			elapse(ctx, 20*time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(most) * time.Millisecond
	}
}

// D-19, I-12: a cluster with many sessions is upgraded node by node under load, while
// somebody reads the table that the migration changes for a long time. Nobody waits for
// a lock for longer than a second. Nodes of both versions serve together, the older one
// may be started again, and the way back is open: one retry cures every request, and
// nobody is signed out. I-4, I-8
func TestRollingUpgrade(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	c.fill(t, c.mustSignUp(t, "token"), size(20_000, 1_000_000))
	crowd := startClusterCrowd(t, c, size(6, 24))
	p := startPatrons(t, c, crowd.recorder, size(4, 16))
	env, version := c.nextVersion(t, `
		ALTER TABLE session ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';
		ALTER TABLE account ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';
		CREATE TABLE mood (id BIGINT PRIMARY KEY);`)
	longest := c.watchLocks(t)

	reader, err := c.Admin.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var sessions int
	if err := reader.QueryRowContext(t.Context(), `SELECT count(*) FROM session`).Scan(&sessions); err != nil {
		t.Fatal(err)
	}
	// The node is away for longer than a service goes on without having heard anything.
	c.Roads[0].Route(c.addresses()[1:]...)
	c.Nodes[0].upgrade(t, env)
	c.Nodes[0].Launch(t)
	elapse(t.Context(), time.Duration(size(2, 15))*time.Second)
	if now := c.question(t, `SELECT max(version) FROM schema_migration`); now != version-1 {
		t.Errorf("D-19 the migration has not waited for the reader: the schema is %d", now)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	c.Nodes[0].WaitReady(t, 30*time.Second)
	if now := c.question(t, `SELECT max(version) FROM schema_migration`); now != version {
		t.Errorf("the schema is %d, want %d", now, version)
	}
	c.Roads[0].Route(c.Nodes[0].Address)
	c.Nodes[1].upgrade(t) // an older node, started on the newer schema
	c.Nodes[1].Restart(t)
	for _, n := range c.Nodes[1:] {
		n.upgrade(t, env)
		n.Restart(t)
	}
	c.Nodes[0].upgrade(t) // and the way back
	c.Nodes[0].Restart(t)
	elapse(t.Context(), time.Duration(size(300, 10_000))*time.Millisecond)
	crowd.Bound("D-19 the longest wait for a table, in seconds", longest().Seconds(), float64(size(2, 1))) // small, it runs beside others
	p.leave(t)
	crowd.leave(t)
	t.Logf("%d sessions; the longest wait for a table took %v; %v", sessions, longest(), crowd)
	c.allServed(t)
	c.empty(t)
	c.checkWhole(t)
}

// D-19: the node that migrates is killed in the middle of it, under load, while another
// waits for it to be done. Nothing of the migration stays, the other one does it from
// the beginning, and nobody else notices. I-4, I-8
func TestUpgradeThatIsKilled(t *testing.T) {
	c := startCluster(t, clusterOptions{Nodes: 4, Settings: longLived}) // of which two are away at once, and never two neighbours
	r := newRecorder()
	r.Late = 2 * time.Second
	p := startPatrons(t, c, r, 4)
	env, version := c.nextVersion(t, `
		CREATE TABLE mood (id BIGINT PRIMARY KEY);
		INSERT INTO mood (id) VALUES (1);
		SELECT pg_sleep(2);
		INSERT INTO mood (id) VALUES (2);`)
	const migrating = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`
	c.Nodes[0].upgrade(t, env)
	c.Nodes[0].Launch(t)
	until(t, 30*time.Second, "a node migrates", func() bool { return c.question(t, migrating) == 1 })
	c.Nodes[2].upgrade(t, env)
	c.Nodes[2].Launch(t)
	c.Nodes[0].Kill(t)
	c.Nodes[2].WaitReady(t, 60*time.Second)
	if n := c.question(t, `SELECT count(*) FROM mood`); n != 2 {
		t.Errorf("D-19 the migration has left %d rows, want 2", n)
	}
	if now := c.question(t, `SELECT max(version) FROM schema_migration`); now != version {
		t.Errorf("the schema is %d, want %d", now, version)
	}
	c.Nodes[0].Restart(t)
	p.leave(t)
	c.ready(t, 30*time.Second)
	c.settle(t, r)
	r.verify(t)
	c.allServed(t)
	c.checkWhole(t)
}
