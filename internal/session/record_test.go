package session

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// What is remembered of a session tells its holder what the whole reading would.
func TestARecordTellsWhatWasRead(t *testing.T) {
	for name, change := range map[string]func(*Standing){
		"much": func(*Standing) {},
		"little": func(st *Standing) {
			st.User.Name, st.User.Roles, st.User.EmailVerified, st.Session.AMR = "", nil, false, nil
		},
		"a long name":       func(st *Standing) { st.User.Name = strings.Repeat("Ada", 20) },
		"a name that fits":  func(st *Standing) { st.User.Name = strings.Repeat("x", 47-len(st.User.Email)-1) },
		"one that does not": func(st *Standing) { st.User.Name = strings.Repeat("x", 47-len(st.User.Email)) },
		"a name of lines":   func(st *Standing) { st.User.Name = "Ada\nLovelace" },
		"about to be over":  func(st *Standing) { st.Session.ExpiresAt = start.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			st := Standing{
				Session: Session{
					ID: credential.NewID(credential.Session), CreatedAt: start.Add(-time.Hour), LastSeenAt: start, Idle: time.Hour,
					ExpiresAt: start.Add(24 * time.Hour), AuthTime: start.Unix() - 5, AMR: []string{"pwd", "otp"}, ACR: "aal2",
				},
				User: account.User{
					ID: credential.NewID(credential.User), Email: "ada@example.com", EmailVerified: true, Name: "Ada Lovelace",
					Roles: []string{"admin", "editor"}, CreatedAt: start.Add(-1000 * time.Hour),
				},
				Now: start,
			}
			change(&st)
			r, err := newRecord(&st)
			if err != nil {
				t.Fatal(err)
			}
			h := Holder{record: r, Seen: start.Add(-time.Minute)} // another node has seen it later
			if diff := cmp.Diff(st.Summary(h.Seen), h.Session()); diff != "" {
				t.Errorf("the session seen before (-read +remembered):\n%s", diff)
			}
			h.Seen = start.Add(time.Minute)
			if diff := cmp.Diff(PersonOf(&st.User), h.Person()); diff != "" {
				t.Errorf("the person (-read +remembered):\n%s", diff)
			}
			if diff := cmp.Diff(st.Summary(h.Seen), h.Session()); diff != "" {
				t.Errorf("the session (-read +remembered):\n%s", diff)
			}
			email, verified := h.VerifiedEmail()
			if email != st.User.Email || verified != st.User.EmailVerified || h.UserID() != st.User.ID || h.SessionID() != st.Session.ID {
				t.Errorf("%s, %v of %s and %s", email, verified, h.UserID(), h.SessionID())
			}
		})
	}
}

// An id that is none of ours is not remembered as another one.
func TestForeignIDsAreNotRemembered(t *testing.T) {
	for _, ids := range [][2]string{{"ses_1", credential.NewID(credential.User)}, {credential.NewID(credential.Session), "ada"}} {
		if _, err := newRecord(&Standing{Session: Session{ID: ids[0]}, User: account.User{ID: ids[1]}}); err == nil {
			t.Errorf("%v are remembered", ids)
		}
	}
}

// A second lies between 1970 and 2106, and what lies outside is not taken for another.
func TestSecondsDoNotWrap(t *testing.T) {
	for unix, want := range map[int64]second{-1: 0, 0: 0, 1_763_715_600: 1_763_715_600, 1<<32 - 1: 1<<32 - 1, 1 << 32: 1<<32 - 1, 1 << 62: 1<<32 - 1} {
		if got := secondOf(unix); got != want {
			t.Errorf("%d is %d, want %d", unix, got, want)
		}
	}
}
