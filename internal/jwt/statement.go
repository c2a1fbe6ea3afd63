package jwt

import "fmt"

// The types of statements: what the issuer states to one client, and no service takes
// for an access token. An ID token has the type that RFC 7519 §5.1 recommends.
const (
	IDToken     = "JWT"
	LogoutToken = "logout+jwt" // #nosec G101 -- a media type
)

const (
	errStatement formError = "its type is not the one that is wanted"
	errStated    formError = "it lacks iss, sub, aud, exp or iat, or one of them has another form"
)

// SignStatement returns a token of a type other than an access token's, with the
// claims given: values are those that [Claims] takes as extra ones. It fails, with an
// error that names a claim but not its value, where [Signer.Sign] would, and for the
// type of an access token.
func (s *Signer) SignStatement(kind string, claims map[string]any) (string, error) {
	if kind != IDToken && kind != LogoutToken {
		return "", errStatement
	}
	e := encoder{out: make([]byte, 0, 1024)}
	if err := e.object(claims); err != nil {
		return "", fmt.Errorf("sign a statement: %w", err)
	}
	header := fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":%q}`, s.public.Algorithm, s.public.ID, kind)
	return s.seal(encoding.EncodeToString(header)+".", e.out)
}

// A Statement is what an ID token or a logout token says.
type Statement struct {
	Issuer    string
	Subject   string
	Audience  []string
	ExpiresAt int64          // Unix seconds
	IssuedAt  int64          // Unix seconds
	SessionID string         // sid, which is a grant's id; "" if there is none
	Claims    map[string]any // all claims, these included
}

// ParseStatement checks form, header and signature of a statement of exactly the type
// that is given, and that it has the claims that every ID token has, as [Parse] does for access
// tokens: it does not look at what they say, nor at the time. Errors are those of Parse.
func ParseStatement(token, kind string, keys func(kid string) (PublicKey, bool)) (Statement, error) {
	text, _, err := open(nil, token, keys, func(h header) error {
		if kind != IDToken && kind != LogoutToken || h.kind != kind {
			return errStatement
		}
		return nil
	})
	if err != nil {
		return Statement{}, err
	}
	return readStatement(text)
}

func readStatement(text string) (Statement, error) {
	st := Statement{Claims: map[string]any{}}
	s := scanner{text: text, members: maxMembers}
	if err := s.document(func(name string) error { return s.into(st.Claims, name) }); err != nil {
		return Statement{}, err
	}
	var ok [5]bool
	st.Issuer, ok[0] = st.Claims["iss"].(string)
	st.Subject, ok[1] = st.Claims["sub"].(string)
	st.ExpiresAt, ok[2] = statedSeconds(st.Claims["exp"])
	st.IssuedAt, ok[3] = statedSeconds(st.Claims["iat"])
	st.Audience, ok[4] = statedAudience(st.Claims["aud"])
	for _, good := range ok {
		if !good {
			return Statement{}, errStated
		}
	}
	if st.Issuer == "" || st.Subject == "" {
		return Statement{}, errStated
	}
	if sid, found := st.Claims["sid"]; found {
		if st.SessionID, found = sid.(string); !found {
			return Statement{}, errStated
		}
	}
	return st, nil
}

func statedSeconds(v any) (int64, bool) {
	f, ok := v.(float64)
	return int64(f), ok && f >= 0 && f <= maxSeconds && f == float64(int64(f))
}

func statedAudience(v any) ([]string, bool) {
	if one, ok := v.(string); ok {
		return []string{one}, one != ""
	}
	all, ok := v.([]any)
	names := make([]string, 0, len(all))
	for _, each := range all {
		name, isText := each.(string)
		ok = ok && isText && name != ""
		names = append(names, name)
	}
	return names, ok && len(names) > 0
}
