package storetest

import (
	"context"
	"database/sql"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver behind the administrator's connection

	"github.com/coatcheck/coatcheck/internal/daemon"
)

// Postgres returns the address of a fresh, empty PostgreSQL database, which is
// dropped when the test ends. It fails the test, and never skips it, where
// PostgreSQL cannot be started.
//
// All databases of one test binary are in one cluster of Debian's PostgreSQL,
// started at the first call: in a folder of its own, on a unix socket only,
// without fsync. It stops, and its folder goes, when the binary ends in whatever
// way.
func Postgres(t testing.TB) string {
	t.Helper()
	c, err := running()
	if err != nil {
		t.Fatalf("PostgreSQL could not be started; \"make test\" installs what is missing: %v", err)
	}
	name := "test_" + strconv.FormatInt(c.databases.Add(1), 10)
	if _, err := c.admin.ExecContext(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() { // the test's own context is over by now
		if _, err := c.admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return c.server.URL(name)
}

// A cluster is a running PostgreSQL.
type cluster struct {
	server    *daemon.Postgres
	admin     *sql.DB
	databases atomic.Int64
}

var running = sync.OnceValues(startCluster)

func startCluster() (*cluster, error) {
	server, err := daemon.StartPostgres(daemon.PostgresOptions{})
	if err != nil {
		return nil, err
	}
	admin, err := sql.Open("pgx", server.URL("postgres"))
	return &cluster{server: server, admin: admin}, err
}
