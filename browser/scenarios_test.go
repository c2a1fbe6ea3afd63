package browser

import (
	"os"
	"regexp"
	"testing"
)

// What people do, once with scripts and once with JavaScript switched off: no page
// needs any.
func TestLifecycles(t *testing.T) {
	w := theWorld(t)
	for _, scenario := range []string{
		"signUpByLink", "signUpByCode", "signUpElsewhere", "signUpTwice", "signUpByInvitation", "twoDevices", "twoAccounts", "disconnects", "throughApplications", "throughLogout", "newcomer", "remember",
		"changePassword", "resetPassword", "changeEmail", "exportAndDelete",
	} {
		for _, with := range []struct {
			name   string
			script bool
		}{{"script", true}, {"no-script", false}} {
			t.Run(scenario+"/"+with.name, func(t *testing.T) {
				t.Parallel()
				w.play(t, scenario, map[string]bool{"javaScriptEnabled": with.script})
			})
		}
	}
}

var state = regexp.MustCompile(`(?m)^  "([a-z-]+)": \[`)

// Every page in every state: axe finds nothing in light and dark, it fits a phone and
// 200 % zoom, is under 60 KB, and asks nobody but us and nothing late.
func TestPages(t *testing.T) {
	w := theWorld(t)
	for _, name := range statesOf(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.play(t, "pageState", name)
		})
	}
}

// statesOf reads the names of the states from where they are told.
func statesOf(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("pages.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range state.FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	if len(names) < 20 {
		t.Fatalf("%d states of pages are told", len(names))
	}
	return names
}

// Pages speak German to whoever asks for it, and fit a phone then, too.
func TestGerman(t *testing.T) {
	w := theWorld(t)
	for _, name := range []string{"sign-in", "sign-up", "verify", "forgot", "reset", "account", "account-applications", "accounts", "signed-out-of-one", "signed-out", "setup", "invitation", "not-found", "sign-in-for", "consent", "consent-offline", "consent-device", "logout", "logout-refused", "client-unknown", "redirect-mismatch", "request-over"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.play(t, "pageGerman", name)
		})
	}
}

// The mails as a mail program shows them: axe finds nothing, they fit a phone, and
// load nothing from anywhere.
func TestMails(t *testing.T) {
	theWorld(t).play(t, "mails")
}

// Sign-in and account with nothing but a keyboard.
func TestKeyboard(t *testing.T) {
	theWorld(t).play(t, "keyboard")
}

// What strangers try.
func TestHostile(t *testing.T) {
	w := theWorld(t)
	for _, scenario := range []struct{ id, name string }{
		{"V-101", "openRedirect"}, {"V-74", "reflectedParameters"}, {"V-74", "reflectedFields"}, {"V-74", "reflectedRequests"}, {"V-74", "reflectedLogout"}, {"V-72", "forcedLogout"}, {"V-75", "framed"}, {"V-75", "framedConsent"}, {"login-CSRF", "crossOrigin"}, {"fixation", "fixation"},
	} {
		t.Run(scenario.id+"/"+scenario.name, func(t *testing.T) {
			t.Parallel()
			w.play(t, scenario.name)
		})
	}
}
