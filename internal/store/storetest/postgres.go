package storetest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver behind the administrator's connection
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
	return c.address(name)
}

// A cluster is a running PostgreSQL.
type cluster struct {
	dir       string
	admin     *sql.DB
	databases atomic.Int64
	lifeline  io.Closer // open as long as this process lives
}

var running = sync.OnceValues(startCluster)

func (c *cluster) address(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(c.dir)
}

// keeper starts a cluster, says "ready", and waits for the end of its standard
// input, which comes with the end of the process that holds the other side.
// Then it stops the cluster and removes the folder.
const keeper = `
dir=$1 bin=$2
trap 'rm -rf "$dir"' EXIT
{
	"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync &&
	"$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-k '$dir' -c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=200" start
} >"$dir/start" 2>&1 || { cat "$dir/start" "$dir/log"; exit 1; }
echo ready
read -r end
"$bin/pg_ctl" -D "$dir/data" -m immediate stop >"$dir/stop" 2>&1
`

func startCluster() (*cluster, error) {
	bin, err := newest()
	if err != nil {
		return nil, err
	}
	// Not os.TempDir: the path of a unix socket has to be short, and the folder
	// open to the user postgres.
	dir, err := os.MkdirTemp("/tmp", "coatcheck-postgres-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", keeper, "keeper", dir, bin) // #nosec G204 -- a constant script
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	if os.Getuid() == 0 {
		if err := asPostgres(cmd.SysProcAttr, dir); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	output := bufio.NewReader(answer)
	if line, err := output.ReadString('\n'); line != "ready\n" {
		rest, _ := io.ReadAll(output)
		return nil, errors.Join(fmt.Errorf("%s%s", line, rest), err, cmd.Wait())
	}
	c := &cluster{dir: dir, lifeline: lifeline}
	c.admin, err = sql.Open("pgx", c.address("postgres"))
	return c, err
}

// asPostgres lets a command run as the user postgres, since PostgreSQL refuses
// to run as root, and gives that user the folder.
func asPostgres(attr *syscall.SysProcAttr, dir string) error {
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(dir, int(uid), int(gid))
}

// newest returns the folder of the newest PostgreSQL that Debian has installed.
func newest() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("there is none in /usr/lib/postgresql"), err)
	}
	version := func(bin string) int {
		n, _ := strconv.Atoi(strings.Split(bin, "/")[4]) // 0 for what is no version
		return n
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}
