package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// A killable is a folder with a database in which people are signed in, whose commands
// are processes of their own.
type killable struct {
	t    *testing.T
	dir  string
	took time.Duration // how long the last one that was not killed took
}

// newKillable makes a database with so many people.
func newKillable(t *testing.T, people int) *killable {
	t.Helper()
	k := &killable{t: t, dir: t.TempDir()}
	k.signIn(0, people)
	return k
}

func (k *killable) signIn(from, to int) {
	k.t.Helper()
	config, err := app.Configure(map[string]string{"database": "sqlite:" + filepath.Join(k.dir, "coatcheck.db")})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx := context.Background()
	a, err := app.New(ctx, app.Options{Config: config, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}})
	if err != nil {
		k.t.Fatal(err)
	}
	for i := from; i < to && err == nil; i++ {
		var proof account.Proof
		origin := audit.Origin{IP: fmt.Sprintf("192.0.%d.%d", i/256, i%256)}
		proof, err = a.Accounts.SignUp(ctx, account.NewUser{Email: fmt.Sprintf("person%d@example.com", i), Password: "rain on a tin roof at night"}, origin)
		if err == nil {
			_, err = a.Sessions.Begin(ctx, proof, session.Opening{From: origin, Event: audit.SignedIn, Cookie: true, Tokens: true})
		}
	}
	if err := errors.Join(err, a.Close()); err != nil {
		k.t.Fatal(err)
	}
}

// run runs a command to its end, or kills it after a while; then killed says whether it
// was still running.
func (k *killable) run(kill time.Duration, args ...string) (out string, killed bool) {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if kill > 0 {
		ctx, cancel = context.WithTimeout(ctx, kill)
		defer cancel()
	}
	var both bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = append([]string{"coatcheck"}, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.dir, &both, &both
	begun := time.Now()
	err = cmd.Run()
	if err == nil {
		k.took = time.Since(begun)
	}
	if err != nil && ctx.Err() == nil {
		k.t.Fatalf("coatcheck %v: %v\n%s", args, err, &both)
	}
	return both.String(), err != nil
}

// people counts the people and the live sessions in a database.
func (k *killable) people(database ...string) (people, sessions int) {
	k.t.Helper()
	users, _ := k.run(0, append([]string{"user", "list"}, database...)...)
	live, _ := k.run(0, append([]string{"session", "list"}, database...)...)
	return strings.Count(users, "usr_"), strings.Count(live, "ses_")
}

// kills is in how many places a command is killed.
const kills = 4

// moment is somewhere in the time that a command takes.
func (k *killable) moment() time.Duration {
	return time.Duration(1 + rand.Int64N(int64(max(k.took, time.Millisecond))))
}

// A restore that is killed wherever it is leaves the old database or the restored one,
// whole, and nothing in the way of the next. D-21
func TestRestoreIsKilled(t *testing.T) {
	k := newKillable(t, 4)
	k.run(0, "backup", "backup.db")
	k.signIn(4, 7)
	k.run(0, "backup", "later.db") // which a killed restore leaves the database as
	for range kills {
		_, killed := k.run(k.moment(), "restore", "backup.db")
		switch people, sessions := k.people(); {
		case people == 7 && sessions == 7:
		case people == 4 && sessions == 0:
		default:
			t.Fatalf("killed is %t: there are %d people and %d sessions, neither of before nor of after", killed, people, sessions)
		}
		k.run(0, "restore", "backup.db")
		if people, sessions := k.people(); people != 4 || sessions != 0 {
			t.Fatalf("after a whole restore there are %d people and %d sessions", people, sessions)
		}
		k.run(0, "restore", "later.db", "--keep-sessions")
		if people, sessions := k.people(); people != 7 || sessions != 7 {
			t.Fatalf("after a whole restore there are %d people and %d sessions", people, sessions)
		}
	}
	if left, err := filepath.Glob(filepath.Join(k.dir, "*.restoring*")); len(left) > 0 || err != nil {
		t.Errorf("%q is left behind", left)
	}
}

// A backup that is killed is no file of that name, or a whole one.
func TestBackupIsKilled(t *testing.T) {
	k := newKillable(t, 4)
	k.run(0, "backup", "first.db")
	for i := range kills {
		name := fmt.Sprintf("backup%d.db", i)
		k.run(k.moment(), "backup", name)
		if _, err := os.Stat(filepath.Join(k.dir, name)); err != nil {
			k.run(0, "backup", name) // with what the kill left in the way
		}
		k.run(0, "restore", name)
		if people, _ := k.people(); people != 4 {
			t.Errorf("the backup has %d people", people)
		}
	}
}

// A move that is killed wherever it is goes on when it is run once more.
func TestMoveIsKilled(t *testing.T) {
	target := storetest.Postgres(t)
	k := newKillable(t, 30)
	k.took = time.Second
	for n := 0; ; n++ {
		if _, killed := k.run(k.moment(), "move", "--to", target); !killed || n == kills {
			break
		}
	}
	k.run(0, "move", "--to", target)
	t.Setenv("COATCHECK_SECRET_FILE", "coatcheck.secret")
	if people, sessions := k.people("--database", target); people != 30 || sessions != 30 {
		t.Errorf("there are %d people and %d sessions", people, sessions)
	}
}
