package web

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// One account is in use in a browser: that of the session's cookie. The others that are
// signed in there are in a cookie of their own, which holds the cookies of their sessions
// and nothing else. It admits nobody to anything: a person chooses on a page which
// account to use next, and each session of it is held to the store like any other.

// maxBeside is how many accounts a browser keeps beside the one in use: few enough for
// one cookie, and for the reads that it takes to show them.
const maxBeside = 5

// besideSeparator stands between two of them. No cookie of a session has it.
const besideSeparator = "."

// A present is an account that is signed in in this browser.
type present struct {
	Standing session.Standing // by the store, just now
	Cookie   string           // of its session; "" where the browser holds tokens instead
	Current  bool             // it is the one in use
}

// accountsHere returns the accounts that are signed in in this browser: the one in use
// first, then the others, each user once and none whose session is over. To be looked at
// here does not count as being used. errTwoCookies and errTwoCredentials where nobody can
// say what is ours, [fault.ErrUnavailable] if nobody can vouch for them now.
func (s *Server) accountsHere(x *exchange) ([]present, error) {
	var here []present
	h, err := s.holderOf(x)
	switch {
	case err == nil:
		x.holder = h
		st, err := s.Sessions.Find(x.Context(), h.SessionID())
		if err != nil && !errors.Is(err, session.ErrNoSession) {
			return nil, err
		}
		if err == nil {
			value, _ := named(x.Request, s.cookies.session)
			here = append(here, present{Standing: st, Cookie: value, Current: true})
		}
	case fault.Of(err).Kind != fault.Unauthenticated, errors.Is(err, errTwoCookies), errors.Is(err, errTwoCredentials):
		return nil, err
	}
	return s.beside(x, here)
}

// beside adds to those who are here the others that the browser keeps. Two cookies of
// the name are refused: one of them was put there by someone else.
func (s *Server) beside(x *exchange, here []present) ([]present, error) {
	value, err := one(x.Request, s.cookies.accounts)
	if err != nil {
		s.cookies.set(x, s.cookies.accounts, "", "/", past)
		s.Logger.WarnContext(x.Context(), "a request bears our cookie twice: another host may be setting it", "cookie", s.cookies.accounts, "request_id", x.from().RequestID, "ip", x.from().IP)
		return nil, err
	}
	if value == "" {
		return here, nil
	}
	kept := strings.SplitN(value, besideSeparator, maxBeside+1)
	for _, cookie := range kept[:min(len(kept), maxBeside)] {
		st, err := s.Sessions.Beside(x.Context(), cookie)
		switch {
		case errors.Is(err, session.ErrEnded), errors.Is(err, session.ErrInvalidToken):
			continue
		case err != nil:
			return nil, err
		}
		if indexOf(here, st.User.ID) < 0 {
			here = append(here, present{Standing: st, Cookie: cookie})
		}
	}
	return here, nil
}

// indexOf returns where the account of a user is among those here, -1 if nowhere.
func indexOf(here []present, userID string) int {
	return slices.IndexFunc(here, func(p present) bool { return p.Standing.User.ID == userID })
}

// holderFor returns who holds the session of a user in this browser, whether that is the
// account in use or another one; false if there is none. The session counts as used.
func (s *Server) holderFor(x *exchange, userID string) (session.Holder, bool, error) {
	here, err := s.accountsHere(x)
	if err != nil {
		return session.Holder{}, false, err
	}
	i := indexOf(here, userID)
	switch {
	case i < 0:
		return session.Holder{}, false, nil
	case here[i].Current:
		return x.holder, true, nil
	}
	h, err := s.Sessions.CheckCookie(x.Context(), here[i].Cookie)
	if errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrInvalidToken) {
		return session.Holder{}, false, nil
	}
	return h, err == nil, err
}

// keep lets the browser keep these accounts beside the one in use, the last used first.
// Unless each of them asked to be remembered, they go with the browser.
func (s *Server) keep(x *exchange, others []present) {
	var cookies []string
	var until time.Time
	remember := true
	for _, p := range others {
		if p.Cookie == "" { // it is signed in by tokens, which are given up for another account
			continue
		}
		cookies = append(cookies, p.Cookie)
		remember = remember && p.Standing.Session.Remember
		if p.Standing.Session.ExpiresAt.After(until) {
			until = p.Standing.Session.ExpiresAt
		}
	}
	_, times := named(x.Request, s.cookies.accounts)
	switch {
	case len(cookies) == 0 && times == 0:
		return
	case len(cookies) == 0:
		until = past
	case !remember:
		until = time.Time{}
	}
	s.cookies.set(x, s.cookies.accounts, strings.Join(cookies, besideSeparator), "/", until)
}

// makeRoom signs out of the accounts that were not used for longest, so that another one
// fits in, and returns those that stay. Of a session that nobody has in sight any more,
// nothing should be left in a browser's profile or a backup of it.
func (s *Server) makeRoom(x *exchange, others []present) ([]present, error) {
	for len(others) > maxBeside {
		last := len(others) - 1
		if err := s.endHere(x, others[last]); err != nil {
			return nil, err
		}
		others = others[:last]
	}
	return others, nil
}

// endHere ends the session of an account in this browser, as signing out of it does.
func (s *Server) endHere(x *exchange, p present) error {
	what := session.Ending{Kind: feed.Session, ID: p.Standing.Session.ID, UserID: p.Standing.User.ID, Reason: "sign_out"}
	_, err := s.Sessions.End(x.Context(), what, p.Standing.User.ID, x.from())
	return err
}

// signOutOf signs the account of a user out of this browser, whether it is the one in
// use or another one, and returns how many are left. One that is not here is as good as
// signed out.
func (s *Server) signOutOf(x *exchange, userID string) (left int, err error) {
	here, err := s.accountsHere(x)
	if err != nil {
		return 0, err
	}
	i := indexOf(here, userID)
	switch {
	case i < 0:
		return len(here), nil
	case here[i].Current:
		return len(here) - 1, s.signOut(x)
	}
	if err := s.endHere(x, here[i]); err != nil {
		return 0, err
	}
	others := slices.Delete(here, i, i+1)
	left = len(others)
	s.keep(x, slices.DeleteFunc(others, func(p present) bool { return p.Current }))
	x.Header().Set("Clear-Site-Data", signingOut)
	return left, nil
}

// signOutAll signs every account out of this browser. No cookie is taken before all
// sessions have ended, so that it may be said again if that fails.
func (s *Server) signOutAll(x *exchange) error {
	here, err := s.accountsHere(x)
	if err != nil {
		return err
	}
	for _, p := range here {
		if err := s.endHere(x, p); err != nil {
			return err
		}
	}
	s.clear(x)
	s.keep(x, nil)
	x.Header().Set("Clear-Site-Data", signingOut)
	return nil
}
