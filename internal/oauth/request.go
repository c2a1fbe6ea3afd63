package oauth

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What ends on a page of ours, because nothing of the request says where else it could
// safely go (RFC 6749 §4.1.2.1).
var (
	ErrUnknownClient = fault.New(fault.Syntax, "unknown_client", "The application that sent you here is not registered with us, or is switched off.")
	ErrRedirectURI   = fault.New(fault.Syntax, "redirect_uri_mismatch", "The application asked us to send you to an address that it has not registered.")
	ErrRequestOver   = fault.New(fault.Syntax, "request_over", "This sign-in has taken too long, or was begun in another browser.")
	ErrAnswered      = fault.New(fault.Conflict, "request_answered", "This sign-in was answered already.")
)

// The ways in which an answer travels (OAuth 2.0 Multiple Response Types 2.1, Form Post 1.0).
const (
	ModeQuery    = "query"
	ModeFormPost = "form_post"
)

// What a request may hold. Together it has to fit into an address that comes back sealed.
const (
	maxParameters = 4000
	maxState      = 2048
	maxNonce      = 512
	maxAge        = 10 * 365 * 24 * time.Hour
)

// parameters are those that are read: every one at most once, but resource. Others are
// ignored (OpenID Connect Core 3.1.2.1).
var parameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"prompt", "max_age", "login_hint", "id_token_hint", "acr_values", "ui_locales", "claims", "resource", "request", "request_uri", "registration",
}

// A Request is an authorization request whose parameters are good for its client. Nobody
// keeps it: until it is answered it travels in the address, see [Provider.Seal].
type Request struct {
	ID     string // of this request, which is answered once
	Began  time.Time
	Client *Client
	To     Destination

	Scope     string // words once each, in the order asked
	Audience  string // of the resource parameter; "": this server
	Challenge string // of PKCE, S256; "": none
	Nonce     string
	Claims    string // the claims parameter, a JSON object; "": none
	Offline   bool   // it is to go on when the person has signed out
	LoginHint string
	Locales   string // ui_locales: BCP 47 tags, as they were sent

	prompts  prompts
	maxAge   time.Duration // since the person proved who they are; negative: any
	hint     string        // id_token_hint
	hinted   string        // id of the user that it names; "": nobody
	sent     url.Values    // what was read of what was sent, without the hint
	claimed  []string      // scopes of the claims that are asked for by name
	demand   demand
	progress progress
}

// prompts are the values of prompt.
type prompts struct{ none, login, consent, choose bool }

// A Destination is where a request is answered: checked against the client's registration.
type Destination struct {
	URI   string
	Mode  string
	State string
}

// A RedirectError is a refusal that the client is told of, at an address that it has
// registered.
type RedirectError struct {
	Fault       *fault.Fault
	Description string // constant, ASCII; "": the fault's sentence
	To          Destination
	Client      *Client
}

// Error returns the code and the description.
func (e *RedirectError) Error() string { return e.Fault.Code + ": " + e.description() }

// Unwrap returns the fault.
func (e *RedirectError) Unwrap() error { return e.Fault }

func (e *RedirectError) description() string {
	if e.Description != "" {
		return e.Description
	}
	return e.Fault.Sentence
}

// ParseRequest reads an authorization request (OAuth 2.1 §4.1.1, OpenID Connect Core
// 3.1.2.1). What is wrong with it is a [*RedirectError] once client and redirect address
// are known to be good; before that, ErrUnknownClient, ErrRedirectURI or ErrRequest,
// which are for a page: nobody is sent to an address that is not known (BCP-2).
func (p *Provider) ParseRequest(ctx context.Context, form url.Values) (*Request, error) {
	sent := url.Values{}
	for _, name := range parameters {
		if len(form[name]) > 0 {
			sent[name] = slices.Clone(form[name])
		}
	}
	r := &Request{ID: credential.NewOrdinal(), Began: p.now()}
	if err := p.read(ctx, r, sent); err != nil {
		return nil, err
	}
	if r.hint == "" {
		return r, nil
	}
	// It is read once, and goes no further: what is sealed names the user.
	hint, err := p.sessions.ReadHint(ctx, r.hint)
	switch {
	case fault.Of(err) == fault.ErrUnavailable:
		return nil, err
	case err != nil || hint.ClientID != r.Client.ID:
		return nil, r.refuse(ErrRequest, "id_token_hint is no ID token that this client was given here.")
	}
	r.hinted = hint.UserID
	if r.hinted == "" { // the grant is gone with its session: who it was nobody knows any more
		r.hinted = nobody
	}
	return r, nil
}

// nobody is the hinted user where the hint names one whom we do not find.
const nobody = "nobody"

// read fills in a request from what was sent.
func (p *Provider) read(ctx context.Context, r *Request, sent url.Values) error {
	id, err := once(sent, "client_id")
	if err != nil {
		return err
	}
	if r.Client, err = p.Clients.Find(ctx, id); err != nil {
		if fault.Of(err) == ErrNoClient {
			err = ErrUnknownClient
		}
		return err
	}
	return r.readFor(r.Client, sent)
}

// readFor is read for a client that is known.
func (r *Request) readFor(c *Client, sent url.Values) error {
	if c.Disabled {
		return ErrUnknownClient
	}
	r.Client, r.sent, r.maxAge = c, sent, -1
	r.hint = sent.Get("id_token_hint")
	uri, err := once(sent, "redirect_uri")
	if err != nil {
		return err
	}
	if !c.MayRedirect(uri) {
		return ErrRedirectURI
	}
	r.To = Destination{URI: uri, Mode: ModeQuery}
	if mode := sent["response_mode"]; len(mode) == 1 && mode[0] == ModeFormPost {
		r.To.Mode = ModeFormPost
	}
	if state := sent["state"]; len(state) == 1 && readable(state[0], maxState) {
		r.To.State = state[0]
	}
	for _, check := range []func(url.Values) error{r.checkForm, r.checkKind, r.readScope, r.readResource, r.readPKCE, r.readPrompt, r.readRest} {
		if err := check(sent); err != nil {
			return err
		}
	}
	delete(r.sent, "id_token_hint")
	return nil
}

// refuse returns the error that the client is told.
func (r *Request) refuse(f *fault.Fault, description string) error {
	return &RedirectError{Fault: f, Description: description, To: r.To, Client: r.Client}
}

// once returns the value of a parameter that has to be there, and once.
func once(sent url.Values, name string) (string, error) {
	if len(sent[name]) != 1 || sent[name][0] == "" {
		return "", ErrRequest
	}
	return sent[name][0], nil
}

// readable reports whether text may be kept and given back: UTF-8 without control
// characters, within a length in bytes.
func readable(text string, longest int) bool {
	return len(text) <= longest && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// checkForm refuses what cannot be meant in one way only.
func (r *Request) checkForm(sent url.Values) error {
	length := 0
	for name, values := range sent {
		if len(values) > 1 && name != "resource" {
			return r.refuse(ErrRequest, "The parameter "+name+" is there more than once.")
		}
		if name == "id_token_hint" {
			continue
		}
		for _, value := range values {
			length += len(name) + len(url.QueryEscape(value)) + 2
		}
	}
	switch {
	case length > maxParameters:
		return r.refuse(ErrRequest, "The request is too long: its parameters may have 4000 characters together.")
	case sent.Get("state") != r.To.State:
		return r.refuse(ErrRequest, "state is too long, or holds control characters.")
	case sent.Has("request"):
		return r.refuse(ErrRequestObject, "")
	case sent.Has("request_uri"):
		return r.refuse(ErrRequestURI, "")
	case sent.Has("registration"):
		return r.refuse(ErrRegistration, "")
	}
	return nil
}

// checkKind refuses what is not the code flow.
func (r *Request) checkKind(sent url.Values) error {
	switch kind := sent.Get("response_type"); {
	case kind == "":
		return r.refuse(ErrRequest, "response_type is missing: ask for code.")
	case kind != "code":
		return r.refuse(ErrResponseType, "")
	case !r.Client.MayUse(GrantCode):
		return r.refuse(ErrClientNotAllowed, "")
	}
	switch mode := sent.Get("response_mode"); {
	case mode == "", mode == ModeQuery:
		return nil
	case mode == ModeFormPost && !strings.HasPrefix(r.To.URI, "http"):
		r.To.Mode = ModeQuery // what listens to a scheme of its own is sent no forms
		return r.refuse(ErrRequest, "form_post goes to an http or https address alone.")
	case mode == ModeFormPost:
		return nil
	}
	return r.refuse(ErrRequest, "There is no such response_mode here: query or form_post.")
}

// readScope takes what the client is registered for. offline_access is left out where the
// client gets no refresh tokens anyway (OpenID Connect Core 11).
func (r *Request) readScope(sent url.Values) error {
	var words []string
	for word := range strings.SplitSeq(sent.Get("scope"), " ") {
		switch {
		case word == "" || slices.Contains(words, word):
		case word == ScopeOfflineAccess && !r.Client.MayUse(GrantRefresh):
		case !slices.Contains(r.Client.Scopes, word):
			return r.refuse(session.ErrInvalidScope, "A scope is none that this client is registered for.")
		default:
			words = append(words, word)
		}
	}
	r.Scope, r.Offline = strings.Join(words, " "), slices.Contains(words, ScopeOfflineAccess)
	return nil
}

// readResource takes one audience of those that the client is registered for (RFC 8707 §2).
func (r *Request) readResource(sent url.Values) error {
	asked := slices.Compact(slices.Sorted(slices.Values(sent["resource"])))
	switch {
	case len(asked) == 0:
		return nil
	case len(asked) > 1:
		return r.refuse(session.ErrInvalidTarget, "Ask for one resource at a time: a token here is for one.")
	case !slices.Contains(r.Client.Audiences, asked[0]):
		return r.refuse(session.ErrInvalidTarget, "The resource is none that this client is registered for.")
	}
	r.Audience = asked[0]
	return nil
}

// readPKCE takes the challenge (RFC 7636 §4.3). Only S256 is one: with plain, whoever sees
// the request could redeem the code.
func (r *Request) readPKCE(sent url.Values) error {
	r.Challenge = sent.Get("code_challenge")
	method := sent.Get("code_challenge_method")
	switch {
	case r.Challenge == "" && method == "" && r.Client.WithoutPKCE && r.Client.Confidential():
		return nil
	case r.Challenge == "":
		return r.refuse(ErrRequest, "code_challenge is missing: use PKCE with S256 (RFC 7636).")
	case method != "S256":
		return r.refuse(ErrRequest, "code_challenge_method has to be S256.")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(r.Challenge); err != nil || len(sum) != 32 {
		return r.refuse(ErrRequest, "code_challenge has to be a SHA-256 in base64url without padding.")
	}
	return nil
}

// readPrompt takes prompt and max_age.
func (r *Request) readPrompt(sent url.Values) error {
	words := strings.Fields(sent.Get("prompt"))
	for _, word := range words {
		switch word {
		case "none":
			r.prompts.none = true
		case "login":
			r.prompts.login = true
		case "consent":
			r.prompts.consent = true
		case "select_account":
			r.prompts.choose = true
		default:
			return r.refuse(ErrRequest, "There is no such prompt here: none, login, consent or select_account.")
		}
	}
	if r.prompts.none && len(words) > 1 {
		return r.refuse(ErrRequest, "prompt=none stands alone.")
	}
	if age := sent.Get("max_age"); age != "" {
		seconds, err := strconv.ParseUint(age, 10, 32)
		if err != nil {
			return r.refuse(ErrRequest, "max_age is a number of seconds.")
		}
		r.maxAge = min(time.Duration(seconds)*time.Second, maxAge)
	}
	return nil
}

// readRest takes what needs no more than a look at its form.
func (r *Request) readRest(sent url.Values) error {
	r.Nonce, r.Claims, r.Locales = sent.Get("nonce"), sent.Get("claims"), sent.Get("ui_locales")
	if !readable(r.Nonce, maxNonce) {
		return r.refuse(ErrRequest, "nonce is too long, or holds control characters.")
	}
	if hint := sent.Get("login_hint"); readable(hint, 254) { // only a hint: what is none is ignored
		r.LoginHint = hint
	}
	if !readable(r.Locales, 128) {
		r.Locales = ""
	}
	claims, err := ParseClaims(r.Claims)
	if err != nil {
		return r.refuse(ErrRequest, "claims is no JSON object as OpenID Connect Core 5.5 describes it, or longer than 2048 bytes.")
	}
	r.claimed, r.demand = claims.Scopes(), readDemand(claims)
	return nil
}
