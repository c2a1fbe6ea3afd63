package web

import (
	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// signUpBinding is how long a browser remembers that it began a sign-up: as long as
// the link lives that finishes it.
const signUpBinding = account.LinkLife

// provenFirst reports whether a sign-up makes no account before its address is proven.
// The mail of an invitation has proven it.
func (s *Server) provenFirst(n *account.NewUser) bool {
	return s.Accounts.VerifyRequired() && n.Invitation == ""
}

// beginSignUp mails what finishes a sign-up, and gives the browser a secret of its own.
// Whoever opens the link in this browser goes on as the person who began here; in any
// other they prove the mailbox and nothing else.
func (s *Server) beginSignUp(x *exchange, n account.NewUser) error {
	secret := credential.NewSecret()
	if err := s.Accounts.BeginSignUp(x.Context(), n, secret.Hash(), x.from()); err != nil {
		return err
	}
	s.cookies.set(x, s.cookies.binding, secret.Encode(), "/", s.Now().Add(signUpBinding))
	return nil
}

// boundSignUp returns the hash of what the browser was given when a sign-up began in
// it; the zero Hash, which matches no link, where there is none or no secret of ours.
// Two of them count as none: one was put there by someone else.
func (s *Server) boundSignUp(x *exchange) credential.Hash {
	text, err := one(x.Request, s.cookies.binding)
	if err != nil {
		return credential.Hash{}
	}
	secret, ok := credential.ParseSecret(text)
	if !ok {
		return credential.Hash{}
	}
	return secret.Hash()
}

// unbindSignUp takes the secret back from a browser that has no more use for it.
func (s *Server) unbindSignUp(x *exchange) {
	if _, times := named(x.Request, s.cookies.binding); times > 0 {
		s.cookies.set(x, s.cookies.binding, "", "/", past)
	}
}
