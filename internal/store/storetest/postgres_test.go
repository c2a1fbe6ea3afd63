package storetest

import (
	"database/sql"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestPostgresDatabasesAreEmptyAndApart(t *testing.T) {
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open("pgx", Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE mine (x BIGINT)"); err != nil {
				t.Fatal(err)
			}
			var fsync string
			if err := db.QueryRowContext(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "off" {
				t.Errorf("fsync is %q, %v", fsync, err)
			}
		})
	}
}

// TestPostgresEndsWithTheBinary lets a second copy of this binary start a
// cluster and die without a word; the cluster goes with it, and so does its
// folder.
func TestPostgresEndsWithTheBinary(t *testing.T) {
	if os.Getenv("COATCHECK_TEST_DIE") != "" {
		Postgres(t)
		c, err := running()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("folder " + c.dir + "\n")
		os.Exit(3)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$") // #nosec G204 -- this binary
	cmd.Env = append(os.Environ(), "COATCHECK_TEST_DIE=1")
	out, _ := cmd.Output()
	_, dir, found := strings.Cut(strings.TrimSpace(string(out)), "folder ")
	if !found {
		t.Fatalf("the copy did not start a cluster: %s", out)
	}
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("%s is still there", dir)
		case <-tick.C:
		}
	}
	if processes, err := fs.Glob(os.DirFS("/proc"), "[0-9]*/cmdline"); err == nil {
		for _, file := range processes {
			if line, err := os.ReadFile("/proc/" + file); err == nil && strings.Contains(string(line), dir) {
				t.Errorf("a process is left: %s", strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
	}
}
