package web

import (
	"encoding/base64"
	"strings"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// signUpBinding is how long a browser remembers that it began a sign-up: as long as
// the link lives that finishes it.
const signUpBinding = account.LinkLife

// besideMark stands behind the secret of a sign-up for another account. It begins no
// address, and is no character of base64url.
const besideMark = "!"

// maxCookie is how long the value of a cookie may be for every browser to keep it.
const maxCookie = 3900

// provenFirst reports whether a sign-up makes no account before its address is proven.
// The mail of an invitation has proven it.
func (s *Server) provenFirst(n *account.NewUser) bool {
	return s.Accounts.VerifyRequired() && n.Invitation == ""
}

// A begunSignUp is what a browser remembers of a sign-up that began in it. In the
// cookie the secret stands first, which has one length, and then the address.
type begunSignUp struct {
	browser  credential.Hash // of the secret that it was given; zero: none was
	returnTo string          // where the person wanted to go, to be judged again; empty: nowhere
	beside   bool            // for another account, beside whoever is in use here
}

// beginSignUp mails what finishes a sign-up, and gives the browser a secret of its own.
// Whoever opens the link in this browser goes on as the person who began here, and to
// where they wanted to go; in any other they prove the mailbox and nothing else.
func (s *Server) beginSignUp(x *exchange, n account.NewUser, back, prompt string) error {
	secret := credential.NewSecret()
	if err := s.Accounts.BeginSignUp(x.Context(), n, secret.Hash(), x.from()); err != nil {
		return err
	}
	value := secret.Encode()
	if prompt == promptLogin {
		value += besideMark
	}
	if _, ours := sealedIn(back); ours && len(value)+len(back) <= maxCookie { // it has no character that a cookie may not have
		value += back
	} else if !ours && s.mayReturn(back) {
		value += base64.RawURLEncoding.EncodeToString([]byte(back))
	}
	s.cookies.set(x, s.cookies.binding, value, "/", s.Now().Add(signUpBinding))
	return nil
}

// signUpHere returns what this browser remembers; nothing, which matches no link, where
// there is no cookie of ours. Two of them count as none: one was put there by someone
// else.
func (s *Server) signUpHere(x *exchange) begunSignUp {
	text, err := one(x.Request, s.cookies.binding)
	if err != nil || len(text) < credential.SecretLength {
		return begunSignUp{}
	}
	secret, ok := credential.ParseSecret(text[:credential.SecretLength])
	rest, beside := strings.CutPrefix(text[credential.SecretLength:], besideMark)
	if ok && strings.HasPrefix(rest, "/") {
		return begunSignUp{browser: secret.Hash(), returnTo: rest, beside: beside}
	}
	back, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil {
		return begunSignUp{}
	}
	return begunSignUp{browser: secret.Hash(), returnTo: string(back), beside: beside}
}

// unbindSignUp takes the secret back from a browser that has no more use for it.
func (s *Server) unbindSignUp(x *exchange) {
	if _, times := named(x.Request, s.cookies.binding); times > 0 {
		s.cookies.set(x, s.cookies.binding, "", "/", past)
	}
}
