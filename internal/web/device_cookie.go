package web

import (
	"github.com/coatcheck/coatcheck/internal/session"
)

// deviceCookie returns by what this browser is known, "" if by nothing. Two of them
// count as none: one was put there by someone else.
//
// It is not among the cookies that make a request one with a credential: it opens
// nothing, and a program that keeps it signs in again as it did the first time.
func (s *Server) deviceCookie(x *exchange) string {
	value, err := one(x.Request, s.cookies.device)
	if err != nil {
		return ""
	}
	return value
}

// setDevice makes the browser known to the person who has signed in. It outlives the
// session: whoever signs out is known when they come back.
func (s *Server) setDevice(x *exchange, opened session.Opened) {
	if opened.DeviceCookie != "" {
		s.cookies.set(x, s.cookies.device, opened.DeviceCookie, "/", s.Now().Add(session.KnownFor))
	}
}
