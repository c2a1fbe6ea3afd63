package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// verifier is that of PKCE in all flows of the benchmark, which has nobody to hide it from.
const verifier = "a-verifier-that-a-benchmark-has-no-reason-to-hide"

// afterwards is where the application of the benchmark is answered.
const afterwards = "https://rp.example/callback"

// A registered client.
type registered struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

func (c registered) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+c.Secret))
}

func (s *server) register(ctx context.Context, args ...string) (registered, error) {
	out, err := s.run(ctx, append(append([]string{"client", "add"}, args...), "--json")...)
	var made registered
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	return made, err
}

// applications registers a machine and an application of the operator's own, and gives
// the latter a grant for each applicant.
func (r *rig) applications(ctx context.Context, s *server) (*providing, *codeFlows, error) {
	machine, err := s.register(ctx, "--name", "Robot", "--type", "machine", "--scope", "stock:read", "--audience", "https://stock.example")
	if err != nil {
		return nil, nil, err
	}
	shop, err := s.register(ctx, "--name", "Shop", "--type", "web", "--redirect-uri", afterwards, "--trusted",
		"--scope", "openid", "--scope", "offline_access", "--id-token-algorithm", "ES256")
	if err != nil {
		return nil, nil, err
	}
	cookie, err := signInOnce(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	flows := &codeFlows{server: s, shop: shop}
	p := &providing{
		token: s.URL + "/oauth2/token", introspect: s.URL + "/oauth2/introspect",
		basic: shop.basic(), machine: machine.basic(), pid: s.PID(),
	}
	var tokens []string
	for range applicants { // a session each, and others for the flows: a session keeps only the newest grants of a client
		access, refresh, err := flows.flow(ctx, cookie, "")
		if err != nil {
			return nil, nil, err
		}
		p.access, tokens = access, append(tokens, refresh)
		if cookie, err = cookieFrom(ctx, s, "/v1/sign-in"); err != nil {
			return nil, nil, err
		}
		other, err := cookieFrom(ctx, s, "/v1/sign-in")
		if err != nil {
			return nil, nil, err
		}
		flows.cookies = append(flows.cookies, other)
	}
	p.tokens, err = r.keepTokens(tokens)
	return p, flows, err
}

// codeFlows run the code flow of somebody who is signed in, at an application that needs
// no consent: from the authorization request to the tokens.
type codeFlows struct {
	*server
	shop    registered
	cookies []string // of sessions, which take turns
	rates   []float64
}

// flow is one: two requests.
func (f *codeFlows) flow(ctx context.Context, cookie, scope string) (access, refresh string, err error) {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {f.shop.ID}, "redirect_uri": {afterwards}, "response_type": {"code"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if scope != "" {
		q.Set("scope", scope)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+"/oauth2/authorize?"+q.Encode(), http.NoBody)
	if err != nil {
		return "", "", err
	}
	request.Header.Set("Cookie", "coatcheck_dev="+cookie)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return "", "", err
	}
	_, _ = io.Copy(io.Discard, answer.Body) // the header says it
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		return "", "", fmt.Errorf("the authorization endpoint answers %s and sends to %q (%v)", answer.Status, answer.Header.Get("Location"), err)
	}
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	err = postForm(ctx, http.DefaultClient, f.URL+"/oauth2/token", f.shop.basic(), url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {afterwards}, "code_verifier": {verifier},
	}, &t)
	return t.Access, t.Refresh, err
}

// round runs flows one after the other and notes how many a second of processor time.
func (f *codeFlows) round(ctx context.Context, r *rig, pid int) error {
	before, err := processTime(pid)
	if err != nil {
		return err
	}
	n := 0
	for begin := time.Now(); time.Since(begin) < r.slice(); n++ {
		if _, _, err := f.flow(ctx, f.cookies[n%len(f.cookies)], "openid"); err != nil {
			return err
		}
	}
	after, err := processTime(pid)
	f.rates = append(f.rates, float64(n)/(after-before).Seconds())
	return err
}

func (f *codeFlows) figure() figure {
	return figure{Name: "code flow with an ID token, of who is signed in, a processor second", Unit: "/s", Ours: f.rates}
}

// postForm sends a form and reads JSON. Any status but 2xx is an error.
func postForm(ctx context.Context, client *http.Client, address, authorization string, form url.Values, out any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", authorization)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s: %s", address, answer.Status, text)
	}
	return json.Unmarshal(text, out)
}

// applicantsOverHTTP is the load: one connection for each refresh token of a file, which
// refreshes it again and again at a token endpoint. It prints how many refreshes a second
// that were, and leaves the tokens to go on with in the file.
func applicantsOverHTTP(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 4)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	tokens := strings.Fields(string(text))
	if len(tokens) != applicants {
		return fmt.Errorf("role applicants: %d tokens, want %d", len(tokens), applicants)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: applicants, DisableCompression: true}}
	rate, err := perSecond(slice, func(i int) error {
		var answer struct {
			Refresh string `json:"refresh_token"`
		}
		err := postForm(ctx, client, args[0], args[2], url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens[i]}}, &answer)
		if answer.Refresh == "" {
			return errors.Join(err, errors.New("there is no refresh token in the answer"))
		}
		tokens[i] = answer.Refresh
		return err
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1], []byte(strings.Join(tokens, "\n")), 0o600); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, rate)
	return nil
}
