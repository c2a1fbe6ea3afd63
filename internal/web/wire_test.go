package web

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/session"
)

// The answer that is encoded by hand is the one that everything else would be.
func TestSignedInAsIsEncodedAsJSON(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 123e6, time.UTC)
	full := signedInAs{
		User: user{ID: "usr_1", Email: "ada@example.com", EmailVerified: true, Name: "Ada", CreatedAt: at},
		Session: sessionView{
			ID: "ses_1", CreatedAt: at, LastSeenAt: at.Add(1), IdleExpiresAt: at.Add(time.Hour), ExpiresAt: at.Truncate(time.Second),
			AuthTime: at.Truncate(time.Hour), AMR: []string{"pwd", "otp"}, ACR: "aal2",
		},
		Via: session.ViaCookie,
	}
	cases := map[string]signedInAs{"full": full, "zero": {}}
	for _, name := range []string{`"quoted" \ <b>&'`, "Ἀδα \u2028\u2029 🦉", "a\nb\tc\x00\x1f\x7f", strings.Repeat("x", 2000)} {
		other := full
		other.User.Name, other.User.Email, other.Session.AMR = name, name, []string{name}
		cases[name] = other
	}
	none := full
	none.Session.AMR = []string{}
	cases["no methods"] = none
	for name, v := range cases {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.encode()
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%.20s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	full.User.Name = "\xff"
	if _, err := full.encode(); err == nil {
		t.Error("what is no text is answered")
	}
}
