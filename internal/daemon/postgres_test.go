package daemon

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// With this set, the test binary starts a PostgreSQL, says where, and waits.
const asOwner = "COATCHECK_DAEMON_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(asOwner) == "" {
		os.Exit(m.Run())
	}
	p, err := StartPostgres(PostgresOptions{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.keeper.dir)
	<-make(chan struct{})
}

func ask(t *testing.T, url, statement string) (answer string, err error) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // nothing is open any more
	err = db.QueryRowContext(t.Context(), statement).Scan(&answer)
	return answer, err
}

// What is committed is there after a crash; stopped it does not answer, and closed
// nothing of it is left.
func TestPostgresComesAndGoes(t *testing.T) {
	p, err := StartPostgres(PostgresOptions{Durable: true, TCP: true, Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }() // a second time, where all went well
	if err := p.Create("one"); err != nil {
		t.Fatal(err)
	}
	want := func(url, statement, answer string) {
		t.Helper()
		if got, err := ask(t, url, statement); err != nil || got != answer {
			t.Errorf("%s: %q, %v, want %q", statement, got, err, answer)
		}
	}
	if _, err := ask(t, p.URL("one"), `SELECT 'here' AS word INTO kept`); !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	want(p.URL("one"), `SHOW fsync`, "on")
	want(p.URL("one"), `SHOW work_mem`, "5MB")
	for _, mode := range []string{Immediate, Fast} {
		if err := p.Stop(mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t, p.URL("one"), `SELECT 'it answers'`); err == nil {
			t.Error("a stopped server answers")
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		want(p.URLAt(p.Address(), "one"), `SELECT word FROM kept`, "here")
	}
	if err := p.Stop("slow"); err == nil {
		t.Error("it was stopped in no way that there is")
	}
	if err := p.Create("one"); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a database that is there was made: %v", err)
	}
	if err := p.Drop("one"); err != nil {
		t.Error(err)
	}
	if pid, err := p.PID(); err != nil || pid < 2 {
		t.Errorf("it is process %d, %v", pid, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.keeper.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

// Whose program is killed leaves nothing behind.
func TestPostgresEndsWithItsOwner(t *testing.T) {
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), asOwner+"=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir := strings.TrimSpace(line)
	if _, e := os.Stat(dir); err != nil || e != nil {
		t.Fatalf("the owner says %q, %v, %v", line, err, e)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			break
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("%s is still there", dir)
		}
	}
	processes, err := fs.Glob(os.DirFS("/proc"), "[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		if line, err := os.ReadFile("/proc/" + file); err == nil && strings.Contains(string(line), dir) {
			t.Errorf("a process is left: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}
