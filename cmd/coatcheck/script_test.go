package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the driver behind the command sql

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/hashing"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coatcheck": main, hashing.Name: hashing.Work})
}

// Each script is a folder of its own and a session at the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			if strings.HasSuffix(env.WorkDir, "script-move") { // the one that needs it
				env.Setenv("POSTGRES", storetest.Postgres(env.T().(testing.TB)))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"signin": signInHere, "sql": runSQL, "member": member, "members": members, "shift": shift,
		},
	})
}

// signin EMAIL [CLOCK] begins a session on ./coatcheck.db, as a running server does, for a
// new person or one with the password below, and sets $SESSION, $USER, $ACCESS,
// $REFRESH and $COOKIE. CLOCK is by how much the server's clock is ahead.
func signInHere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: signin EMAIL [CLOCK]")
	}
	config, err := app.Configure(map[string]string{"database": "sqlite:" + ts.MkAbs("coatcheck.db"), "token.audiences": "orders"})
	ts.Check(err)
	ctx := context.Background()
	o := app.Options{Config: config, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}}
	if len(args) == 2 {
		ahead, err := time.ParseDuration(args[1])
		ts.Check(err)
		o.Now = func() time.Time { return time.Now().Add(ahead) }
	}
	a, err := app.New(ctx, o)
	ts.Check(err)
	from := audit.Origin{IP: "192.0.2.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	const password = "rain on a tin roof at night"
	proof, err := a.Accounts.SignUp(ctx, account.NewUser{Email: args[0], Password: password}, from)
	if err != nil {
		proof, err = a.Accounts.CheckPassword(ctx, args[0], password, from)
	}
	ts.Check(err)
	opened, err := a.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedIn, Cookie: true, Tokens: true, Audience: "orders"})
	ts.Check(err)
	ts.Check(a.Close())
	for name, value := range map[string]string{
		"SESSION": opened.Standing.Session.ID, "USER": opened.Standing.User.ID,
		"ACCESS": opened.Tokens.Access, "REFRESH": opened.Tokens.Refresh, "COOKIE": opened.Cookie,
	} {
		ts.Setenv(name, value)
	}
}

// sql STATEMENT... changes ./coatcheck.db behind its back, as another version would.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: sql STATEMENT...")
	}
	db, err := sql.Open("sqlite", ts.MkAbs("coatcheck.db"))
	ts.Check(err)
	for _, statement := range args {
		_, err := db.Exec(statement)
		ts.Check(err)
	}
	ts.Check(db.Close())
}

// printed returns the JSON objects that were printed last: one, or those of an array.
func printed(ts *testscript.TestScript) []map[string]any {
	text := ts.ReadFile("stdout")
	var one map[string]any
	var all []map[string]any
	if json.Unmarshal([]byte(text), &one) == nil {
		return append(all, one)
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		ts.Fatalf("neither an object nor an array of them: %s", text)
	}
	return all
}

// members NAME... demands that each printed object has these members and no others.
func members(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("members knows no !")
	}
	want := slices.Sorted(slices.Values(args))
	all := printed(ts)
	for _, one := range all {
		if got := slices.Sorted(maps.Keys(one)); !slices.Equal(got, want) {
			ts.Fatalf("members are %v, want %v", got, want)
		}
	}
	if len(all) == 0 {
		ts.Fatalf("nothing was printed")
	}
}

// member NAME VARIABLE sets a variable to a member of the first printed object.
func member(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: member NAME VARIABLE")
	}
	all := printed(ts)
	if len(all) == 0 {
		ts.Fatalf("nothing was printed")
	}
	text, ok := all[0][args[0]].(string)
	if !ok {
		ts.Fatalf("%s is no string of %v", args[0], all[0])
	}
	ts.Setenv(args[1], text)
}

// shift VARIABLE spoils the last but fourth character of a credential.
func shift(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shift VARIABLE")
	}
	text := ts.Getenv(args[0])
	at := len(text) - 5
	other := "A"
	if strings.HasPrefix(text[at:], "A") {
		other = "B"
	}
	ts.Setenv(args[0], text[:at]+other+text[at+1:])
}

// The scripts together run every command there is.
func TestEveryCommandHasAScript(t *testing.T) {
	var all strings.Builder
	entries, err := os.ReadDir("testdata/script")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile("testdata/script/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, cmd := range commands() {
		if !strings.Contains(all.String(), "exec "+cmd.CommandPath()) {
			t.Errorf("no script runs %s", cmd.CommandPath())
		}
	}
}
