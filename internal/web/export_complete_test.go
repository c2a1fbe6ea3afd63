package web

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// secret marks a column that opens something, or would help to; ours one that says
// nothing about the person; other one that says it in another member.
const (
	secret = "it is a secret, or the hash of one"
	ours   = "it is the bookkeeping of the server"
	other  = "another member says the same"
)

// personal are the tables that hold something about a person, with the type that exports
// a row, and for each column the member that tells of it or why none does.
var personal = map[string]struct {
	row     any
	columns map[string]string
}{
	"account": {adminUser{}, map[string]string{
		"id": ".id", "email": ".email", "email_key": other, "email_verified": ".email_verified", "name": ".name", "roles": ".roles",
		"password": secret, "password_version": ours, "disabled": ".disabled", "created_at": ".created_at", "over_before": ours, "changed_before": ours,
	}},
	"session": {exportedSession{}, map[string]string{
		"id": ".id", "account_id": other, "secret_hash": secret, "created_at": ".created_at", "last_seen_at": ".last_seen_at", "idle_ms": ours,
		"expires_at": ".expires_at", "auth_time": ".auth_time", "amr": ".amr", "acr": ".acr", "ip": ".ip", "user_agent": ".user_agent",
		"device": ".device", "remember": ".remember", "changed_before": ours, "ended_at": ".ended_at", "end_reason": ".end_reason", "closed": other, "sweep_at": ours,
		"client_id": ".client",
	}},
	"session_grant": {exportedGrant{}, map[string]string{
		"id": ".id", "session_id": other, "client_id": ".client", "audience": ".audience", "scope": ".scope", "generation": ours, "refresh_hash": secret,
		"salt": secret, "rotated_at": ".rotated_at", "rotations": secret, "created_at": ".created_at", "ended_at": ".ended_at", "end_reason": ".end_reason",
		"claims": ".claims",
	}},
	"consent": {exportedConsent{}, map[string]string{
		"id": other, "account_id": other, "client_id": ".client", "scopes": ".scopes", "audiences": ".audiences", "given_at": ".given_at",
	}},
	"attachment": {exportedSession{}, map[string]string{"session_id": ".id", "document": ".data", "version": ours}},
	"link": {exportedLink{}, map[string]string{
		"id": secret, "kind": ".kind", "account_id": other, "email": ".email", "email_key": other, "browser": secret, "name": ".name", "password": secret,
		"roles": ".roles", "decoy": ours, "guesses": ours, "created_at": ".created_at", "expires_at": ".expires_at", "spent_at": ours,
	}},
	"outbox": {exportedMail{}, map[string]string{
		"id": ours, "kind": ".kind", "recipient": other, "language": ".language", "link_id": secret, "details": ".mentions", "created_at": ".created_at",
		"expires_at": ".expires_at", "due_at": ours, "lease": ours, "attempts": ours, "failure": ours, "dead_at": ours,
	}},
	"audit": {auditEntry{}, map[string]string{
		"seq": ".seq", "at": ".at", "event": ".event", "outcome": ".outcome", "actor": ".actor", "account_id": ".user_id", "session_id": ".session_id",
		"subject": ".subject", "ip": ".ip", "user_agent": ".user_agent", "request_id": ".request_id",
	}},
}

// impersonal are the tables that hold nothing about a person: the ids in the revocation
// log are in it for minutes and in the export by themselves. An authorization code is
// known for two hours, and what it gave is among the grants; of a grant, too, are the
// watches and notices of its end, which are gone when the application has been told.
var impersonal = []string{
	"issuer", "setup", "client", "revocation_head", "revocation", "access_lifetime", "keyring", "signing_key", "api_key", "audit_head", "schema_migration", "transfer",
	"authorization_code", "client_assertion", "logout_watch", "logout_notice",
}

var (
	tableForm  = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \(\n(.*?)\n\);`)
	columnForm = regexp.MustCompile(`(?m)^\t(\w+) +\w+`)
	addedForm  = regexp.MustCompile(`ALTER TABLE (\w+) ADD COLUMN (\w+)`)
)

// Whatever the store keeps about a person is in the export, or here is why not: a column
// that is added to the schema fails this test until somebody has decided.
func TestExportTellsOfAllThatIsKept(t *testing.T) {
	kept := map[string][]string{}
	paths, err := filepath.Glob("../store/sqlstore/migrations/*.sql")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no migrations: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tableForm.FindAllStringSubmatch(string(text), -1) {
			for _, column := range columnForm.FindAllStringSubmatch(table[2], -1) {
				if column[1] != "PRIMARY" && column[1] != "CONSTRAINT" { // they are about several columns
					kept[table[1]] = append(kept[table[1]], column[1])
				}
			}
		}
		for _, added := range addedForm.FindAllStringSubmatch(string(text), -1) {
			kept[added[1]] = append(kept[added[1]], added[2])
		}
	}
	for table, columns := range kept {
		decided, about := personal[table]
		if about == slices.Contains(impersonal, table) {
			t.Errorf("the table %s is about a person and not, or neither", table)
		}
		if !about {
			continue
		}
		members := jsonNames(reflect.TypeOf(decided.row))
		for _, column := range columns {
			switch where := decided.columns[column]; {
			case where == "":
				t.Errorf("nobody has decided whether the export tells of %s.%s", table, column)
			case strings.HasPrefix(where, ".") && !slices.Contains(members, where[1:]):
				t.Errorf("the export has no member %s for %s.%s", where, table, column)
			}
		}
	}
	for table, decided := range personal {
		for column := range decided.columns {
			if !slices.Contains(kept[table], column) {
				t.Errorf("there is no %s.%s", table, column)
			}
		}
	}
}

// jsonNames returns the names of the members of a type as JSON.
func jsonNames(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if strings.Contains(options, "inline") {
			names = append(names, jsonNames(field.Type)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// Who uses an address that is somebody else's learns nothing of what waits for them.
func TestMailsOfAnAddressThatIsNotProven(t *testing.T) {
	for kind, want := range map[mail.Kind]bool{
		mail.Invitation: false, mail.AccountExists: false, mail.FinishSignUp: false, mail.ChangeEmail: false,
		mail.VerifyEmail: true, mail.NewDevice: true, mail.PasswordChanged: true, mail.RefreshReused: true, mail.ResetPassword: true,
	} {
		if got := mayKnow(&account.User{}, kind); got != want {
			t.Errorf("%s is told: %v, want %v", kind, got, want)
		}
		if !mayKnow(&account.User{EmailVerified: true}, kind) {
			t.Errorf("%s is not told to whom the address belongs", kind)
		}
	}
}
