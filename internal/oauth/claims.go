package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// The scopes that OpenID Connect gives a meaning (Core §5.4, §11). Every other one is
// for services to judge.
const (
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopeRoles         = "roles" // not of the standard: what the operator lets the person do
	ScopeOfflineAccess = "offline_access"
)

// Scopes are the scopes that stand for a person, or for something to know of one.
var Scopes = []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeRoles, ScopeOfflineAccess}

// Claims returns the names of the claims about a person that there are, in their order.
func Claims() []string { return session.ClaimNames() }

// A ClaimsRequest asks for single claims (OpenID Connect Core §5.5): by their names, at
// the userinfo endpoint and in the ID token. The empty one asks for none.
type ClaimsRequest struct {
	UserInfo map[string]*ClaimRequest `json:"userinfo"`
	IDToken  map[string]*ClaimRequest `json:"id_token"`
}

// A ClaimRequest says how one claim is wanted (§5.5.1). A nil one wants it if it is at
// hand, and as it is.
type ClaimRequest struct {
	Essential bool             `json:"essential"`
	Value     jsontext.Value   `json:"value"`
	Values    []jsontext.Value `json:"values"`
}

// maxClaims bounds what is kept of a claims parameter, in bytes.
const maxClaims = 2048

var errClaims = errors.New("claims is no JSON object of claims")

// ParseClaims reads a claims parameter; "" is the empty one. Members that it does not
// know are passed over, as the standard wants; what is no such object is an error.
func ParseClaims(text string) (ClaimsRequest, error) {
	var asked ClaimsRequest
	if text == "" {
		return asked, nil
	}
	if len(text) > maxClaims || !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return ClaimsRequest{}, errClaims
	}
	if err := json.Unmarshal([]byte(text), &asked); err != nil {
		return ClaimsRequest{}, errClaims
	}
	return asked, nil
}

// Scopes returns the scopes that a person has to allow for the claims that are asked
// for by name, sorted and once each.
func (r ClaimsRequest) Scopes() []string {
	var out []string
	for _, asked := range []map[string]*ClaimRequest{r.UserInfo, r.IDToken} {
		for name := range asked {
			if scope := session.ScopeOf(name); scope != "" && !slices.Contains(out, scope) {
				out = append(out, scope)
			}
		}
	}
	slices.Sort(out)
	return out
}

// ClaimsFor returns what the userinfo endpoint tells of a person, but for sub: what the
// scope stands for, and what the request asks for by name. A claim that we know nothing
// for is left out.
func ClaimsFor(scope string, asked ClaimsRequest, u account.User) map[string]any {
	granted, out := strings.Fields(scope), map[string]any{}
	for _, name := range Claims() {
		_, named := asked.UserInfo[name]
		if !named && !slices.Contains(granted, session.ScopeOf(name)) {
			continue
		}
		if value, known := session.ClaimOf(&u, name); known {
			out[name] = value
		}
	}
	return out
}

// UserInfo returns what an access token for our own audience tells of the person who
// allowed it (OpenID Connect Core §5.3), decided by the store. The sub is the one in
// the client's ID tokens. [ErrScope] if the token is not for openid.
func (p *Provider) UserInfo(ctx context.Context, token string) (map[string]any, error) {
	st, bears, err := p.sessions.CheckGrantToken(ctx, token)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields(bears.Scope), ScopeOpenID) {
		return nil, ErrScope
	}
	asked, err := ParseClaims(st.Grant.Claims)
	if err != nil {
		return nil, err
	}
	out := ClaimsFor(bears.Scope, asked.within(&st), st.User)
	out["sub"] = p.sessions.SubjectOf(&st)
	return out, nil
}

// within leaves of what was asked for by name what the client may still ask for.
func (r ClaimsRequest) within(st *session.Standing) ClaimsRequest {
	may := func(asked map[string]*ClaimRequest) map[string]*ClaimRequest {
		out := map[string]*ClaimRequest{}
		for name, how := range asked {
			if slices.Contains(st.Client.Scopes, session.ScopeOf(name)) {
				out[name] = how
			}
		}
		return out
	}
	return ClaimsRequest{UserInfo: may(r.UserInfo), IDToken: may(r.IDToken)}
}
