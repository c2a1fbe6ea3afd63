package testauth_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/coatcheck/coatcheck/testauth"
)

// Who is signed in by a test is there, with a proven address, however an account is to
// be made otherwise.
func TestSignInWhoeverMaySignUp(t *testing.T) {
	for _, setting := range [][2]string{{"verify_email", "required"}, {"verify_email", "optional"}, {"sign_up", "invite"}, {"sign_up", "closed"}} {
		t.Run(setting[0]+"="+setting[1], func(t *testing.T) {
			auth := testauth.New(t, testauth.With(setting[0], setting[1]))
			for range 2 { // the second time there is an account
				ada := auth.SignIn("ada@example.com")
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, auth.URL+"/v1/session", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.AddCookie(ada.Cookie)
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				var in struct {
					User struct {
						ID       string `json:"id"`
						Verified bool   `json:"email_verified"`
					} `json:"user"`
				}
				err = json.NewDecoder(answer.Body).Decode(&in)
				_ = answer.Body.Close() // it was read
				if err != nil || answer.StatusCode != http.StatusOK || in.User.ID != ada.UserID || !in.User.Verified {
					t.Errorf("%d %+v (%v)", answer.StatusCode, in, err)
				}
			}
		})
	}
}
