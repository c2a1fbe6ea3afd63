package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/load"
	"github.com/coatcheck/coatcheck/internal/loopback"
)

// keyOf makes an API key for the server in the current folder.
func keyOf(t *testing.T, scopes string) string {
	t.Helper()
	var out, errs bytes.Buffer
	var made struct{ Key string }
	if run(t.Context(), []string{"apikey", "add", "--name", "bench", "--scope", scopes, "--json"}, nil, nil, &out, &errs) != exitOK || json.Unmarshal(out.Bytes(), &made) != nil {
		t.Fatalf("%s%s", &out, &errs)
	}
	return "COATCHECK_API_KEY=" + made.Key
}

// served runs a server in the current folder that is called by its own address, and
// returns that.
func served(t *testing.T, args ...string) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	out, _, _ := serving(t, append([]string{"--listen", address, "--public-url", "http://" + address}, args...)...)
	out.show(t, `listening  `+address)
	return "http://" + address
}

// benched runs coatcheck bench and returns its status and output.
func benched(ctx context.Context, environ string, args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = run(ctx, append([]string{"bench"}, args...), []string{environ}, nil, &o, &e)
	return status, o.String(), e.String()
}

// noUsers fails the test if somebody is left.
func noUsers(t *testing.T) {
	t.Helper()
	var out, errs bytes.Buffer
	if run(t.Context(), []string{"user", "list", "--json"}, nil, nil, &out, &errs) != exitOK || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("users are left: %s%s", &out, &errs)
	}
}

// Everything is measured against a real server, nothing is left behind, and the key is
// in nothing that is printed.
func TestBench(t *testing.T) {
	t.Chdir(t.TempDir())
	url := served(t)
	key := keyOf(t, "admin,revocations")
	status, printed, told := benched(t.Context(), key, "--url", url, "--duration", "1s", "--connections", "4", "--verifiers", "5", "--json")
	var figures []load.Figure
	if err := json.Unmarshal([]byte(printed), &figures); err != nil || status != exitOK {
		t.Fatalf("status %d, %v: %s%s", status, err, printed, told)
	}
	var names []string
	for _, f := range figures {
		names = append(names, f.Name)
		if f.Requests == 0 || f.PerSecond <= 0 {
			t.Errorf("%+v", f)
		}
		if shownAs[f.Name] == "" {
			t.Errorf("%s has no name for people", f.Name)
		}
	}
	if got := strings.Join(names, " "); got != "sign_in session forward_auth refresh end_to_refusal" {
		t.Errorf("measured %s", got)
	}
	if secret := strings.TrimPrefix(key, "COATCHECK_API_KEY="); strings.Contains(printed+told, secret) {
		t.Error("the key was printed")
	}
	noUsers(t)

	// A person sees a table, and an interrupted run leaves nothing either.
	status, printed, told = benched(t.Context(), key, "--url", url, "--duration", "1s", "--connections", "2", "--only", "refresh")
	if status != exitOK || !strings.Contains(printed, "\nrefresh  ") || !strings.Contains(printed, "P99.9") {
		t.Errorf("status %d: %s%s", status, printed, told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := &interrupter{after: "refreshes\n", cancel: cancel}
	if status := run(ctx, []string{"bench", "--url", url, "--connections", "2", "--only", "refresh"}, []string{key}, nil, watched, watched); status != exitFailed {
		t.Errorf("interrupted: status %d", status)
	}
	noUsers(t)
}

// An interrupter cancels once something was written.
type interrupter struct {
	after  string
	cancel func()
}

func (i *interrupter) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), i.after) {
		i.cancel()
	}
	return len(b), nil
}

// What stops a measurement is said with what to do about it.
func TestBenchSaysWhatToDo(t *testing.T) {
	t.Chdir(t.TempDir())
	url := served(t, "--throttle-address", "1/24h")
	for _, c := range []struct {
		key  string
		want []string
	}{
		{"COATCHECK_API_KEY=cka_unknown", []string{"missing or not one of this server's", keyCommand}},
		{keyOf(t, "introspect"), []string{"lacks a scope", keyCommand}},
		{keyOf(t, "admin"), []string{"lacks a scope", keyCommand}},
		{keyOf(t, "admin,revocations"), []string{"throttles sign-ins", "--throttle-address", "--throttle-pair"}},
	} {
		status, printed, told := benched(t.Context(), c.key, "--url", url, "--duration", "1s", "--connections", "4", "--verifiers", "1")
		for _, want := range c.want {
			if status != exitFailed || !strings.Contains(told, want) {
				t.Errorf("status %d, and %q is not said: %s%s", status, want, printed, told)
			}
		}
	}
	status, _, told := benched(t.Context(), keyOf(t, "admin,revocations"), "--url", strings.Replace(url, "127.0.0.1", "localhost", 1))
	if status != exitFailed || !strings.Contains(told, "as it stands in public_url") || strings.Contains(told, "making users") {
		t.Errorf("status %d by another name: %s", status, told)
	}
	noUsers(t)
}
