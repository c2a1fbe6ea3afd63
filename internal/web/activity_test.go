package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/catalogue"
)

// nobodys are the events that concern nobody's account, or one that is gone.
var nobodys = []audit.Event{
	audit.UserDeleted, audit.APIKeyAdded, audit.APIKeyRemoved, audit.KeyRotated, audit.KeysDistrusted, audit.DatabaseRestored, audit.DatabaseMoved,
	audit.ClientAdded, audit.ClientChanged, audit.ClientSecretRotated, audit.ClientRemoved, audit.ClientRefused,
}

// Whatever is audited about an account has words for the person, or is nobody's.
func TestEveryEventHasItsWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../audit/audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Event" {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		events++
		if _, told := activityKeys[audit.Event(name)]; told == slices.Contains(nobodys, audit.Event(name)) {
			t.Errorf("the event %s is told of and nobody's, or neither", name)
		}
		return true
	})
	if events < len(activityKeys)+len(nobodys) {
		t.Errorf("found %d events, which cannot be all", events)
	}
	words, err := catalogue.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range words.Languages() {
		for _, key := range ActivityKeys() {
			if !language.Has("activity." + key) {
				t.Errorf("%s has no words for activity.%s", language.Tag(), key)
			}
		}
	}
}

func TestActivityKey(t *testing.T) {
	const ada = "usr_ada"
	for _, c := range []struct {
		e       audit.Entry
		want    string
		foreign bool
	}{
		{audit.Entry{Event: audit.SignedIn, Actor: ada}, "signed_in", false},
		{audit.Entry{Event: audit.SignInFailed, Outcome: "invalid_credentials"}, "sign_in_failed", false},
		{audit.Entry{Event: audit.SignInFailed, Outcome: "too_many_attempts"}, "sign_in_refused", false},
		{audit.Entry{Event: audit.SessionEnded, Actor: ada, Subject: "sign_out"}, "signed_out", false},
		{audit.Entry{Event: audit.SessionEnded, Actor: ada, Subject: "ended"}, "session_ended", false},
		{audit.Entry{Event: audit.SessionEnded, Actor: "api_key", Subject: "sign_out"}, "session_ended_by_administrator", true},
		{audit.Entry{Event: audit.SessionEnded, Actor: "cli", Subject: "admin"}, "session_ended_by_administrator", true},
		{audit.Entry{Event: audit.SessionEnded, Actor: "system", Subject: "proof_outdated"}, "session_ended_by_server", true},
		{audit.Entry{Event: audit.SessionEnded, Subject: "grt_restored"}, "session_ended_by_server", true},
		{audit.Entry{Event: audit.SessionsEnded, Actor: ada}, "sessions_ended", false},
		{audit.Entry{Event: audit.SessionsEnded, Actor: "cli"}, "sessions_ended_by_administrator", true},
		{audit.Entry{Event: audit.RefreshReused}, "refresh_reused", false},
		{audit.Entry{Event: audit.PasswordChanged, Actor: ada}, "password_changed", false},
		{audit.Entry{Event: audit.PasswordChanged, Actor: "api_key"}, "password_changed_by_administrator", true},
		{audit.Entry{Event: audit.UserChanged, Actor: ada}, "profile_changed", false},
		{audit.Entry{Event: audit.UserDisabled, Actor: "cli"}, "account_disabled", true},
		{audit.Entry{Event: "of_a_later_version", Actor: ada}, "of_a_later_version", false},
	} {
		c.e.UserID = ada
		if key, foreign := activityKey(&c.e); key != c.want || foreign != c.foreign {
			t.Errorf("%+v is %s, %v, want %s, %v", c.e, key, foreign, c.want, c.foreign)
		}
	}
}
