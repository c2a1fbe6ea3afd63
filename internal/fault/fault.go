// Package fault declares what can go wrong in a way that a caller may act on.
//
// A fault is a kind, a stable code and one constant sentence. Everything that
// is not a fault is an internal error: it is logged with its cause and shown to
// the outside as one fixed sentence. So nothing reaches a client that was not
// written down here or in a var block beside the rule that raises it.
package fault

import (
	"errors"
	"time"
)

// Kind is the class of a fault, which the HTTP side turns into a status.
type Kind int

// The kinds of fault.
const (
	Internal             Kind = iota // our fault: 500
	Syntax                           // the request cannot be read: 400
	Unauthenticated                  // no credential that counts: 401
	Forbidden                        // a credential that does not suffice: 403
	NotFound                         // 404
	MethodNotAllowed                 // 405
	Conflict                         // the state of things forbids it: 409
	PreconditionFailed               // a lost race on a version: 412
	TooLarge                         // 413
	UnsupportedMedia                 // 415
	Misdirected                      // not a host of ours: 421
	Invalid                          // readable, but a member is wrong: 422
	PreconditionRequired             // a version must be named: 428
	TooMany                          // throttled: 429
	Unavailable                      // cannot vouch for an answer now: 503
)

// A Fault is an expected failure. Faults are declared once, in var blocks, and
// compared with [errors.Is].
type Fault struct {
	Kind     Kind
	Code     string // stable, snake_case, listed in docs/faults.md
	Sentence string // constant, for people, without any value from the request
}

// New declares a fault.
func New(kind Kind, code, sentence string) *Fault {
	return &Fault{Kind: kind, Code: code, Sentence: sentence}
}

// Error returns the code and the sentence.
func (f *Fault) Error() string { return f.Code + ": " + f.Sentence }

// ErrInternal is what the outside sees of every error that is not a fault.
var ErrInternal = New(Internal, "internal", "Something went wrong on our side. Please try again.")

// ErrUnavailable means that nobody can vouch for an answer now, most often because
// the store failed. It is wrapped together with the cause, which is for the log.
var ErrUnavailable = New(Unavailable, "unavailable", "We cannot answer for this right now. Please try again.")

// Of returns the declared fault in err's chain, or [ErrInternal]. It returns nil
// for a nil error.
func Of(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return ErrInternal
}

// ErrInvalid is the fault behind every [Members] error.
var ErrInvalid = New(Invalid, "invalid_request", "One or more members of the request are not valid.")

// A Member names one member of a request that is at fault. It never holds the
// member's value.
type Member struct {
	Member string `json:"member"` // a JSON Pointer (RFC 6901), such as "/email", or a header's name
	Code   string `json:"code"`   // unknown, required, type, too_long or format
	Detail string `json:"detail"` // a constant sentence
}

// Members is an [ErrInvalid] that says which members are wrong.
type Members []Member

// Error returns the sentence of [ErrInvalid]; the members are for the answer.
func (m Members) Error() string { return ErrInvalid.Error() }

// Unwrap returns [ErrInvalid].
func (m Members) Unwrap() error { return ErrInvalid }

// Bad returns the error for a single wrong member.
func Bad(member, code, detail string) error {
	return Members{{Member: member, Code: code, Detail: detail}}
}

// Retry is a fault that says when it is worth trying again.
type Retry struct {
	Fault *Fault
	After time.Duration // rounded up to whole seconds in Retry-After
}

// Error returns the fault's text.
func (r *Retry) Error() string { return r.Fault.Error() }

// Unwrap returns the fault.
func (r *Retry) Unwrap() error { return r.Fault }
