package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/loopback"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A Step is what has to happen next before a request is answered.
type Step int

// The steps.
const (
	Answer         Step = iota // nothing: see [Provider.Answer]
	SignIn                     // nobody is here
	Reauthenticate             // the person has to prove anew who they are
	SelectAccount              // the person has to say which account it should be
	AskConsent                 // the person has not allowed this yet
)

// A demand is what the claims parameter insists on (OpenID Connect Core 5.5.1).
type demand struct {
	levels  []string // of which acr has to be one; nil: any
	subject string   // whose sub it has to be; "": anybody's
}

// readDemand returns what a claims parameter insists on.
func readDemand(claims ClaimsRequest) demand {
	var d demand
	if acr := claims.IDToken["acr"]; acr != nil && acr.Essential {
		for _, value := range append(slices.Clone(acr.Values), acr.Value) {
			var level string
			if len(value) > 0 && json.Unmarshal(value, &level) == nil {
				d.levels = append(d.levels, level)
			}
		}
	}
	if sub := claims.IDToken["sub"]; sub != nil && len(sub.Value) > 0 {
		if json.Unmarshal(sub.Value, &d.subject) != nil {
			d.subject = nobody
		}
	}
	return d
}

// Decide says what has to happen next, given who is here; the zero Holder is nobody. With
// prompt=none nothing may happen, and what would have to is a [*RedirectError] (OpenID
// Connect Core 3.1.2.6), as is an answer that nobody here could bring about.
func (p *Provider) Decide(ctx context.Context, r *Request, h session.Holder) (Step, error) {
	if !h.Somebody() {
		return r.next(SignIn, ErrLoginRequired)
	}
	if r.prompts.choose && !r.progress.chosen {
		return SelectAccount, nil // prompt=none stands alone
	}
	if !p.hits(r, h) {
		return 0, r.refuse(ErrLoginRequired, "")
	}
	if !p.fresh(r, h) {
		return r.next(Reauthenticate, ErrLoginRequired)
	}
	if levels := r.demand.levels; levels != nil && !slices.Contains(levels, h.Session().ACR) {
		return 0, r.refuse(ErrAuthentication, "")
	}
	allowed, err := p.allowed(ctx, r, h.UserID())
	if err != nil {
		return 0, err
	}
	if !allowed {
		return r.next(AskConsent, ErrConsentRequired)
	}
	return Answer, nil
}

// next returns a step, or the refusal where nothing may be asked.
func (r *Request) next(step Step, refusal *fault.Fault) (Step, error) {
	if r.prompts.none {
		return 0, r.refuse(refusal, "")
	}
	return step, nil
}

// Silently returns err, or, where no page may be shown and nobody can vouch for an answer
// now, the refusal that tells the client so.
func (r *Request) Silently(err error) error {
	if r.prompts.none && fault.Of(err) == fault.ErrUnavailable {
		return errors.Join(r.refuse(ErrUnavailable, ""), err)
	}
	return err
}

// Hinted returns the id of the user whom the request is about by its id_token_hint; "" if
// it has none.
func (r *Request) Hinted() string { return r.hinted }

// hits reports whether who is here is whom the request insists on.
func (p *Provider) hits(r *Request, h session.Holder) bool {
	if r.hinted != "" && r.hinted != h.UserID() {
		return false
	}
	if r.demand.subject == "" {
		return true
	}
	st := session.Standing{
		User:   account.User{ID: h.UserID()},
		Client: session.ClientTerms{ID: r.Client.ID, Pairwise: r.Client.Pairwise, Sector: r.Client.Sector},
	}
	return r.demand.subject == p.sessions.SubjectOf(&st)
}

// fresh reports whether the last proof of who is here is young enough for prompt=login and
// max_age. One counts that was given since the request came: by then the session is another
// one, or its auth_time has moved.
func (p *Provider) fresh(r *Request, h session.Holder) bool {
	proven := h.Session().AuthTime
	tooOld := r.maxAge >= 0 && p.now().Sub(proven) > r.maxAge
	if !r.prompts.login && !tooOld {
		return true
	}
	before := r.progress.asked
	return before != nil && proven.Unix() >= r.Began.Unix() && (before.Session != h.SessionID() || proven.Unix() > before.AuthTime)
}

// allowed reports whether no consent has to be asked for: the client is the operator's own,
// or the person has allowed all of it before, to a client that nobody else can pass
// themselves off as.
func (p *Provider) allowed(ctx context.Context, r *Request, userID string) (bool, error) {
	if r.Client.Trusted {
		return true, nil
	}
	if r.prompts.consent || !r.Assured() {
		return false, nil
	}
	given, err := p.consents.FindConsent(ctx, userID, r.Client.ID)
	if errors.Is(err, ErrNoConsent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read a consent: %w: %w", fault.ErrUnavailable, err)
	}
	return given.covers(r), nil
}

// Assured reports whether an answer reaches the client and nobody else: it proves who it is
// when it redeems the code, or it is answered at a host of its own. Any program on a device
// can listen at a loopback address or claim a scheme (RFC 8252 §8.6, ASVS-10.7.1).
func (r *Request) Assured() bool {
	if r.Client.Confidential() {
		return true
	}
	host := hostOf(r.To.URI)
	return strings.HasPrefix(r.To.URI, "https://") && !loopback.Is(strings.Trim(host, "[]"))
}

// Allow keeps what the person has allowed, beside what they allowed this client before.
func (p *Provider) Allow(ctx context.Context, r *Request, h session.Holder, from audit.Origin) error {
	c := Consent{UserID: h.UserID(), ClientID: r.Client.ID, Scopes: r.Asks()}
	if r.Audience != "" {
		c.Audiences = []string{r.Audience}
	}
	before, err := p.consents.FindConsent(ctx, c.UserID, c.ClientID)
	switch {
	case err == nil:
		c.Scopes, c.Audiences = union(before.Scopes, c.Scopes), union(before.Audiences, c.Audiences)
	case !errors.Is(err, ErrNoConsent):
		return fmt.Errorf("read a consent: %w: %w", fault.ErrUnavailable, err)
	}
	e := audit.New(audit.ConsentGiven, audit.OK, from)
	e.Actor, e.UserID, e.SessionID, e.Subject = c.UserID, c.UserID, h.SessionID(), c.ClientID
	if err := p.consents.PutConsent(ctx, c, e); err != nil {
		if errors.Is(err, ErrNoClient) {
			return ErrUnknownClient
		}
		return fmt.Errorf("keep a consent: %w: %w", fault.ErrUnavailable, err)
	}
	return nil
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// Deny returns the response to a person's no.
func (p *Provider) Deny(r *Request) Response {
	return p.Refusal(&RedirectError{Fault: ErrAccessDenied, To: r.To, Client: r.Client})
}

// Answer gives out the code and returns the response that bears it. ErrAnswered if the
// request has got its answer before, whoever asks; ErrConsentRequired if the person takes
// back at this moment what they have allowed.
func (p *Provider) Answer(ctx context.Context, r *Request, h session.Holder, from audit.Origin) (Response, error) {
	code, err := p.sessions.IssueCode(ctx, h, session.Code{
		RequestID: r.ID, ClientID: r.Client.ID, RedirectURI: r.To.URI, Challenge: r.Challenge, Audience: r.Audience,
		Scope: r.Scope, Nonce: r.Nonce, Claims: r.Claims, Offline: r.Offline,
	})
	switch {
	case errors.Is(err, session.ErrAnswered):
		return Response{}, ErrAnswered
	case errors.Is(err, session.ErrLost): // since it was looked at
		return Response{}, session.ErrEnded
	}
	if err == nil {
		err = p.recheck(ctx, r, h.UserID(), from)
	}
	if err != nil {
		return Response{}, err
	}
	return p.respond(r.To, r.Client, Parameter{"code", code}), nil
}

// recheck looks once more at what the code rests on, now that whoever takes the consent back
// would find the code, too. So either they have ended it, or it ends here.
func (p *Provider) recheck(ctx context.Context, r *Request, userID string, from audit.Origin) error {
	if r.Client.Trusted {
		return nil
	}
	given, err := p.consents.FindConsent(ctx, userID, r.Client.ID)
	switch {
	case err == nil && given.covers(r):
		return nil
	case err != nil && !errors.Is(err, ErrNoConsent):
		return fmt.Errorf("read a consent: %w: %w", fault.ErrUnavailable, err)
	}
	if _, err := p.sessions.EndClientOf(ctx, userID, r.Client.ID, "consent_removed", "system", from); err != nil {
		return err
	}
	return r.refuse(ErrConsentRequired, "")
}
