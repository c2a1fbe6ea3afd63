package jwt

// A claim is a registered claim, which has a type of its own.
type claim uint8

// The registered claims in the order in which they are written. Those before
// required are always there.
const (
	claimIssuer claim = iota
	claimSubject
	claimAudience
	claimExpiresAt
	claimIssuedAt
	claimID
	claimClientID
	required // the number of claims that a token must have
	claimNotBefore
	claimAuthTime
	claimGrantID
	claimSessionID
	claimScope
	claimACR
	claimAMR
	claimConfirmation
	unregistered
)

const (
	errMissing  formError = "missing or empty"
	errAudience formError = "not a name or a list of names"
	errBound    formError = "the token is bound to a key, which cannot be checked here"
)

// claimOf returns the claim of a name; names have case.
func claimOf(name string) claim {
	switch name {
	case "iss":
		return claimIssuer
	case "sub":
		return claimSubject
	case "aud":
		return claimAudience
	case "exp":
		return claimExpiresAt
	case "iat":
		return claimIssuedAt
	case "jti":
		return claimID
	case "client_id":
		return claimClientID
	case "nbf":
		return claimNotBefore
	case "auth_time":
		return claimAuthTime
	case "gid":
		return claimGrantID
	case "sid":
		return claimSessionID
	case "scope":
		return claimScope
	case "acr":
		return claimACR
	case "amr":
		return claimAMR
	case "cnf":
		return claimConfirmation
	}
	return unregistered
}

// reserved says whether a name may not be used for an extra claim: it would
// change what the token means to somebody.
func reserved(name string) bool { return claimOf(name) != unregistered || name == "typ" }

// string returns the field of a claim that is a string, or nil.
func (c *Claims) string(which claim) *string {
	switch which {
	case claimIssuer:
		return &c.Issuer
	case claimSubject:
		return &c.Subject
	case claimID:
		return &c.ID
	case claimClientID:
		return &c.ClientID
	case claimGrantID:
		return &c.GrantID
	case claimSessionID:
		return &c.SessionID
	case claimScope:
		return &c.Scope
	case claimACR:
		return &c.ACR
	}
	return nil
}

// seconds returns the field of a claim that is a time, or nil.
func (c *Claims) seconds(which claim) *int64 {
	switch which {
	case claimExpiresAt:
		return &c.ExpiresAt
	case claimIssuedAt:
		return &c.IssuedAt
	case claimNotBefore:
		return &c.NotBefore
	case claimAuthTime:
		return &c.AuthTime
	}
	return nil
}

// readClaims reads the claims of a token whose signature is good.
func readClaims(text string) (Claims, error) {
	var c Claims
	var seen uint32 // a bit for each claim
	s := scanner{text: text, members: maxMembers}
	err := s.document(func(name string) error {
		which := claimOf(name)
		if which == unregistered {
			if c.Extra == nil {
				c.Extra = map[string]any{}
			}
			return s.into(c.Extra, name)
		}
		if seen&(1<<which) != 0 {
			return errDuplicate
		}
		seen |= 1 << which
		return named(name, c.read(&s, which))
	})
	if err != nil {
		return Claims{}, err
	}
	for which := range required {
		at := c.string(which)
		if seen&(1<<which) == 0 || at != nil && *at == "" {
			return Claims{}, named(claimNames[which], errMissing)
		}
	}
	return c, nil
}

func (c *Claims) read(s *scanner, which claim) (err error) {
	if at := c.string(which); at != nil {
		*at, err = s.stringValue()
		return err
	}
	if at := c.seconds(which); at != nil {
		*at, err = s.seconds()
		return err
	}
	switch which {
	case claimAudience:
		c.Audience, err = s.audience()
	case claimAMR:
		c.AMR, err = s.strings()
	default:
		err = errBound
	}
	return err
}

// audience reads one name, or a list of one or more.
func (s *scanner) audience() (names []string, err error) {
	switch s.peek() {
	case '"':
		one, err := s.string()
		if err != nil {
			return nil, err
		}
		names = []string{one}
	case '[':
		if names, err = s.strings(); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if name == "" {
			return nil, errAudience
		}
	}
	if len(names) == 0 {
		return nil, errAudience
	}
	return names, nil
}
