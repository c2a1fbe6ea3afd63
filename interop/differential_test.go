package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// peer runs another provider with the same clients, and returns where it is.
func (s *server) peer(web, machine client) string {
	t := s.t
	t.Helper()
	if err := packages(); err != nil {
		t.Fatal(err)
	}
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	issuer := fmt.Sprintf("http://localhost:%d", port)
	settings, err := json.Marshal(map[string]any{"issuer": issuer, "port": port, "web": web, "machine": machine, "callback": callback})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "provider.mjs", string(settings))
	cmd.Dir, cmd.SysProcAttr = "node", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.keep(cmd)
	s.reach(issuer + "/.well-known/openid-configuration")
	return issuer
}

// classOf says in which way a provider answered an authorization request: it told the
// application an error, or the person, or it went on.
func classOf(v *view) string {
	switch {
	case v.browser.watched(v.address.String()) && v.answer().Get("error") != "":
		return "tells the application " + v.answer().Get("error")
	case v.browser.watched(v.address.String()):
		return "answers the application"
	case v.status >= 400:
		return "tells the person"
	}
	return "goes on"
}

// A difference is where the two providers may differ, and why ours is right.
type difference struct {
	name string
	send []string // what is changed in a good request; an empty value takes a parameter away
	ours string   // our class where it differs
	why  string
}

// The same malformed authorization request goes to another provider and to ours, and gets
// the same class of answer; where it does not, it is written down why.
func TestAuthorizationLikeAnotherProvider(t *testing.T) {
	st := newStage(t)
	machine := st.client("--name", "Robot", "--type", "machine", "--scope", "stock:read", "--audience", "https://stock.example")
	peer := st.peer(st.web, machine)
	for _, d := range []difference{
		{name: "good"},
		{name: "no client", send: []string{"client_id", ""}},
		{name: "unknown client", send: []string{"client_id", "cli_nobody"}},
		{name: "no redirect URI", send: []string{"redirect_uri", ""}, ours: "tells the person", why: "OAuth 2.1 has it always sent; the other takes the only one that is registered"},
		{name: "other path", send: []string{"redirect_uri", callback + "/x"}},
		{name: "other case", send: []string{"redirect_uri", "https://rp.example/Callback"}},
		{name: "query added", send: []string{"redirect_uri", callback + "?a=b"}},
		{name: "fragment", send: []string{"redirect_uri", callback + "#a"}},
		{name: "other host", send: []string{"redirect_uri", "https://rp.example.evil.example/callback"}},
		{name: "userinfo", send: []string{"redirect_uri", "https://rp.example@evil.example/callback"}},
		{name: "http", send: []string{"redirect_uri", "http://rp.example/callback"}},
		{name: "dot segments", send: []string{"redirect_uri", "https://rp.example/a/../callback"}},
		{name: "no response type", send: []string{"response_type", ""}},
		{name: "token", send: []string{"response_type", "token"}},
		{name: "id_token", send: []string{"response_type", "id_token"}, ours: "tells the application unsupported_response_type", why: "RFC 6749 section 4.1.2.1 has a code for it; the other looks at other members first"},
		{name: "none", send: []string{"response_type", "none"}, ours: "tells the application unsupported_response_type", why: "RFC 6749 section 4.1.2.1 has a code for it"},
		{name: "made up response type", send: []string{"response_type", "foo"}},
		{name: "fragment mode", send: []string{"response_mode", "fragment"}, ours: "tells the application invalid_request", why: "no code goes into a fragment here, and the metadata does not offer it"},
		{name: "made up mode", send: []string{"response_mode", "foo"}, ours: "tells the application invalid_request", why: "the other has a code of its own that no registry knows"},
		{name: "no challenge", send: []string{"code_challenge", "", "code_challenge_method", ""}},
		{name: "plain challenge", send: []string{"code_challenge_method", "plain"}},
		{name: "made up method", send: []string{"code_challenge_method", "S512"}},
		{name: "method alone", send: []string{"code_challenge", ""}},
		{name: "short challenge", send: []string{"code_challenge", "abc"}},
		{name: "challenge of other characters", send: []string{"code_challenge", strings.Repeat("!", 43)}},
		{name: "unknown scope", send: []string{"scope", "openid nonsense"}, ours: "tells the application invalid_scope", why: "asking beyond what is registered is refused here; the other passes it over"},
		{name: "scope of others", send: []string{"scope", "openid stock:read"}},
		{name: "request object", send: []string{"request", unsigned}},
		{name: "request URI", send: []string{"request_uri", "https://rp.example/request"}},
		{name: "registration", send: []string{"registration", "{}"}},
		{name: "none and login", send: []string{"prompt", "none login"}},
		{name: "prompt none", send: []string{"prompt", "none"}},
		{name: "made up prompt", send: []string{"prompt", "foo"}},
		{name: "negative age", send: []string{"max_age", "-1"}},
		{name: "age of letters", send: []string{"max_age", "old"}},
		{name: "claims that are no JSON", send: []string{"claims", "{"}},
		{name: "claims that are a list", send: []string{"claims", "[]"}},
		{name: "hint that is no token", send: []string{"id_token_hint", "foo"}},
		{name: "unknown parameter", send: []string{"foo", "bar"}},
		{name: "long state", send: []string{"state", strings.Repeat("s", 2000)}},
		{name: "display", send: []string{"display", "page"}},
		{name: "made up display", send: []string{"display", "foo"}},
	} {
		t.Run(d.name, func(t *testing.T) {
			q := st.request(d.send...)
			b := newBrowser(t, callback, "https://rp.example", "http://rp.example", "https://evil.example")
			ours := classOf(b.open(st.url + "/oauth2/authorize?" + q.Encode()))
			other := classOf(newBrowser(t, b.watch...).open(peer + "/auth?" + q.Encode()))
			want := other
			if d.ours != "" {
				want = d.ours
			}
			if ours != want {
				t.Errorf("ours %s; the other %s", ours, other)
			}
			if (ours == other) != (d.why == "") {
				t.Errorf("the reason to differ is %q, and ours %s; the other %s", d.why, ours, other)
			}
		})
	}
}

// The same at the token endpoint.
func TestTokensLikeAnotherProvider(t *testing.T) {
	st := newStage(t)
	machine := st.client("--name", "Robot", "--type", "machine", "--scope", "stock:read", "--audience", "https://stock.example")
	peer := st.peer(st.web, machine)
	unknown := client{ID: "cli_nobody", Secret: "none"}
	wrong := client{ID: st.web.ID, Secret: "wrong"}
	good := url.Values{"grant_type": {"authorization_code"}, "code": {"nonsense"}, "redirect_uri": {callback}, "code_verifier": {random() + random()}}
	robot := url.Values{"grant_type": {"client_credentials"}, "scope": {"stock:read"}}
	for _, c := range []struct {
		name string
		who  client
		form url.Values
		send []string
		ours string
		why  string
	}{
		{name: "made up code", who: st.web, form: good},
		{name: "wrong secret", who: wrong, form: good},
		{name: "unknown client", who: unknown, form: good},
		{name: "nobody", form: good, ours: "401 invalid_client", why: "who does not say who they are has not failed a request but a proof; the other calls it invalid_request"},
		{name: "no grant type", who: st.web, form: good, send: []string{"grant_type", ""}},
		{name: "made up grant type", who: st.web, form: good, send: []string{"grant_type", "foo"}},
		{name: "password", who: st.web, form: url.Values{"grant_type": {"password"}, "username": {ada}, "password": {password}}},
		{name: "no code", who: st.web, form: good, send: []string{"code", ""}},
		{name: "no redirect URI", who: st.web, form: good, send: []string{"redirect_uri", ""}},
		{name: "made up refresh token", who: st.web, form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"nonsense"}}},
		{name: "no refresh token", who: st.web, form: url.Values{"grant_type": {"refresh_token"}}},
		{name: "a person's client as a machine", who: st.web, form: robot, ours: "400 unauthorized_client", why: "RFC 6749 section 5.2 has a code for it"},
		{name: "a machine with a code", who: machine, form: good, ours: "400 unauthorized_client", why: "likewise"},
		{name: "a machine", who: machine, form: robot},
		{name: "a machine with another scope", who: machine, form: robot, send: []string{"scope", "nonsense"}, ours: "400 invalid_scope", why: "asking beyond what is registered is refused here; the other passes it over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := url.Values{}
			for name, values := range c.form {
				form[name] = values
			}
			for i := 0; i < len(c.send); i += 2 {
				if form.Del(c.send[i]); c.send[i+1] != "" {
					form.Set(c.send[i], c.send[i+1])
				}
			}
			ask := func(address string) string {
				var header []string
				if c.who.ID != "" {
					header = c.who.basic()
				}
				r := (&server{t: t, url: st.url}).call(http.MethodPost, address, form, header...)
				return strings.TrimSpace(fmt.Sprint(r.status, " ", r.member("error")))
			}
			ours, other := ask(st.url+"/oauth2/token"), ask(peer+"/token")
			want := other
			if c.ours != "" {
				want = c.ours
			}
			if ours != want {
				t.Errorf("ours %s; the other %s", ours, other)
			}
			if (ours == other) != (c.why == "") {
				t.Errorf("the reason to differ is %q, and ours %s; the other %s", c.why, ours, other)
			}
		})
	}
}
