package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
)

var userPromises = []promise{
	{"account.Store", "Every method is one atomic step, durable when it returns, in which the audit entry is written too.", []proof{
		{"each change has its entry when it returns", userStepsAudited},
	}},
	{"account.Store", "A step that ends sessions appends to the revocation log in the same step.", []proof{
		{"each such step has its entry when it returns", userStepsLogged},
		{"nobody sees the one without the other", userEndIsOneStep},
	}},
	{"account.Store.AddUser", "AddUser adds a user with a password hash, which may be empty.", []proof{
		{"all of it is read back", addUserRoundTrip},
		{"V-41 control characters change no other member", addUserControls},
	}},
	{"account.Store.AddUser", "The store sets CreatedAt.", []proof{{"whatever the caller says", addUserCreatedAt}}},
	{"account.Store.AddUser", "It returns [ErrEmailTaken] if another user has the EmailKey.", []proof{
		{"without a trace", addUserTaken},
		{"of eight one is added", addUserRace},
		{"V-92 keys are compared byte by byte", emailKeysByBytes},
	}},
	{"account.Store.FindUser", "FindUser returns a user and the password hash, or [ErrNoUser].", []proof{{"by the exact id", findUser}}},
	{"account.Store.FindByEmail", "FindByEmail is FindUser by canonical email.", []proof{{"by the exact key", findByEmail}}},
	{"account.Store.Users", "Users returns up to limit users with ids above after, by id.", []proof{
		{"page after page", usersPaged},
		{"ids are ordered byte by byte", usersByBytes},
	}},
}

// forgeries are texts that would change how a record reads if a store kept its
// members one behind the other.
var forgeries = []string{
	"a\nb", "\n", "a\r\nSet-Cookie: b", "\x1e\x1f\x1d\x1c", "a\tb|c;d,e", `'"\` + "`", "admin\n", "\x1b[2J", "\u2028\u202e", "{}[]", `\n`, "%", "a b",
}

// unkeepable are texts that a database may refuse, but not change.
var unkeepable = []string{"a\x00b", "\xff\xfe"}

// foundUser wants a user and password hash to be found by id and by email.
func (f *fixture) foundUser(t *testing.T, want account.User, password string) {
	t.Helper()
	u, hash, err := f.Users.FindUser(t.Context(), want.ID)
	must(t, err)
	equal(t, "the user", u, want)
	equal(t, "the password hash", hash, password)
	u, hash, err = f.Users.FindByEmail(t.Context(), want.EmailKey)
	must(t, err)
	equal(t, "the user by email", u, want)
	equal(t, "the password hash by email", hash, password)
}

func addUserRoundTrip(t *testing.T, f *fixture) {
	full := account.User{
		ID: credential.NewID(credential.User), Email: "Zoë.李+Tag@Example.COM", EmailKey: "zoë.李+tag@example.com",
		EmailVerified: true, Name: "Zoë 李 🧥 e\u0301", Roles: []string{"admin", "editor"},
	}
	long := draftUser(strings.Repeat("a", 242) + "@example.com")
	long.Name = strings.Repeat("ü", 100)
	bare := account.User{ID: credential.NewID(credential.User), EmailKey: "b@example.com", Roles: []string{}}
	disabled := draftUser("d@example.com")
	disabled.Disabled = true
	for _, c := range []struct {
		user     account.User
		password string
	}{{full, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"}, {long, strings.Repeat("p", 500)}, {bare, ""}, {disabled, "x"}} {
		added, err := f.Users.AddUser(t.Context(), c.user, c.password, noted(audit.UserAdded))
		must(t, err)
		c.user.CreatedAt = f.clock.Now()
		equal(t, "what AddUser returned", added, c.user)
		f.foundUser(t, c.user, c.password)
	}
}

func addUserControls(t *testing.T, f *fixture) {
	for i, text := range slices.Concat(forgeries, unkeepable) {
		u := draftUser(fmt.Sprintf("v41.%d@example.com", i))
		u.Name, u.Roles = text, []string{text}
		f.users = append(f.users, u.ID)
		added, err := f.Users.AddUser(t.Context(), u, "old", noted(audit.UserAdded))
		if err == nil {
			f.foundUser(t, added, "old")
			u.CreatedAt = f.clock.Now()
			equal(t, "what AddUser returned", added, u)
			continue
		}
		if _, _, err := f.Users.FindUser(t.Context(), u.ID); err == nil {
			t.Errorf("a user named %q was refused and is there", text)
		}
		u.Roles = nil
		if _, err := f.Users.AddUser(t.Context(), u, "old", noted(audit.UserAdded)); err != nil && i < len(forgeries) {
			t.Errorf("a user named %q was refused: %v", text, err)
		}
	}
}

func addUserCreatedAt(t *testing.T, f *fixture) {
	u := draftUser("ada@example.com")
	u.CreatedAt = f.clock.Now().AddDate(-5, 0, 0)
	added, err := f.Users.AddUser(t.Context(), u, "", noted(audit.UserAdded))
	must(t, err)
	equal(t, "CreatedAt", added.CreatedAt, f.clock.Now())
	f.foundUser(t, added, "")
}

func addUserTaken(t *testing.T, f *fixture) {
	first := f.user(t)
	second := draftUser(first.EmailKey)
	f.users = append(f.users, second.ID)
	f.unchanged(t, "a second user of one email", func() {
		_, err := f.Users.AddUser(t.Context(), second, "new", noted(audit.UserAdded))
		wantErr(t, "AddUser", err, account.ErrEmailTaken)
	})
	f.foundUser(t, first, "old")
}

func addUserRace(t *testing.T, f *fixture) {
	oneWinner(t, race(racers, func(int) error {
		_, err := f.Users.AddUser(t.Context(), draftUser("ada@example.com"), "", noted(audit.UserAdded))
		return err
	}), account.ErrEmailTaken)
	equal(t, "the number of audit entries", len(f.audits(t)), 1)
}

func emailKeysByBytes(t *testing.T, f *fixture) {
	for _, key := range []string{
		"zoe@example.com", "Zoe@example.com", "zoe@example.com ", "zo\u00eb@example.com", "zoe\u0308@example.com", "zoe@example.co",
	} {
		u := draftUser("x@example.com")
		u.Email, u.EmailKey = "ZOE@example.com", key
		u, err := f.Users.AddUser(t.Context(), u, "", noted(audit.UserAdded))
		must(t, err)
		f.foundUser(t, u, "")
	}
}

func findUser(t *testing.T, f *fixture) {
	u := f.user(t)
	f.foundUser(t, u, "old")
	for _, id := range []string{"", credential.NewID(credential.User), strings.ToUpper(u.ID), u.ID + " ", u.ID[:len(u.ID)-1], u.EmailKey, "%"} {
		_, _, err := f.Users.FindUser(t.Context(), id)
		wantErr(t, fmt.Sprintf("FindUser(%q)", id), err, account.ErrNoUser)
	}
}

func findByEmail(t *testing.T, f *fixture) {
	u := f.user(t)
	f.foundUser(t, u, "old")
	for _, key := range []string{"", u.Email, strings.ToUpper(u.EmailKey), u.EmailKey + " ", "%@example.com", u.ID} {
		_, _, err := f.Users.FindByEmail(t.Context(), key)
		wantErr(t, fmt.Sprintf("FindByEmail(%q)", key), err, account.ErrNoUser)
	}
}

func userIDs(users []account.User) []string {
	var ids []string
	for _, u := range users {
		ids = append(ids, u.ID)
	}
	return ids
}

func usersPaged(t *testing.T, f *fixture) {
	var all []account.User
	for range 5 {
		all = append(all, f.user(t))
	}
	disabled := true
	_, err := f.Users.ChangeUser(t.Context(), all[1].ID, account.UserChange{Disabled: &disabled}, noted(audit.UserDisabled))
	must(t, err)
	must(t, f.Users.DeleteUser(t.Context(), all[3].ID, noted(audit.UserDeleted)))
	ids := userIDs(slices.Delete(slices.Clone(all), 3, 4))
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 100, ids}, {"", 2, ids[:2]}, {ids[1], 2, ids[2:]}, {ids[3], 2, nil}, {all[3].ID, 2, ids[3:]}, {"usr_", 1, ids[:1]},
	} {
		users, err := f.Users.Users(t.Context(), c.after, c.limit)
		must(t, err)
		equal(t, "the ids", userIDs(users), c.want)
	}
	users, err := f.Users.Users(t.Context(), "", 1)
	must(t, err)
	equal(t, "a user of the listing", users, all[:1])
}

func usersByBytes(t *testing.T, f *fixture) {
	ids := []string{"usr_", "usr_0b", "usr_0B", "usr_9", "usr-a", "usr_a0", "usr_a", "usr_Z", "usr_z"}
	for i, id := range ids {
		u := draftUser(fmt.Sprintf("b.%d@example.com", i))
		u.ID = id
		_, err := f.Users.AddUser(t.Context(), u, "", noted(audit.UserAdded))
		must(t, err)
	}
	slices.Sort(ids)
	var got []string
	for after := ""; ; {
		users, err := f.Users.Users(t.Context(), after, 2)
		must(t, err)
		if len(users) == 0 || len(got) > len(ids) {
			break
		}
		got = append(got, userIDs(users)...)
		after = got[len(got)-1]
	}
	equal(t, "the ids", got, ids)
}
