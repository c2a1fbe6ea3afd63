package drill

import (
	"context"
	"net/http"
	"slices"
)

// A witness is a client whose calls are recorded. Copy it freely.
type witness struct {
	*client
	*recorder
}

// outcomeOf says what an answer tells about whether the call was carried out: of
// what is neither OK nor one of the refusals nobody knows.
func outcomeOf(a answer, refusals ...string) outcome {
	switch {
	case a.OK():
		return ok
	case a.Err == nil && slices.Contains(refusals, a.Code):
		return refused
	}
	return unknown
}

// overCodes are those that say that a session is no more.
var overCodes = []string{"session_ended", "refresh_reused", "invalid_token"}

// signUp records an account and its first session.
func (w witness) signUp(ctx context.Context, email, transport string) (*holder, answer) {
	call := w.now()
	h, a := w.client.signUp(ctx, email, transport)
	w.add(operation{kind: enrol, subject: email, given: password, outcome: outcomeOf(a, "email_taken")}, call)
	w.began(h, call)
	return h, a
}

// addUser records an account.
func (w witness) addUser(ctx context.Context, email string) answer {
	call := w.now()
	a := w.client.addUser(ctx, email)
	w.add(operation{kind: enrol, subject: email, given: password, outcome: outcomeOf(a, "email_taken")}, call)
	return a
}

// signIn records a session. Only an answer about the password says anything of it.
func (w witness) signIn(ctx context.Context, email, secret, transport string) (*holder, answer) {
	call := w.now()
	h, a := w.client.signIn(ctx, email, secret, transport)
	if out := outcomeOf(a, "invalid_credentials"); out != unknown {
		w.add(operation{kind: admit, subject: email, presented: secret, outcome: out}, call)
	}
	w.began(h, call)
	return h, a
}

// began records a session that somebody was handed between call and now. Without
// an answer nobody holds it, and nothing is known of it.
func (w witness) began(h *holder, call int64) {
	if h == nil {
		return
	}
	w.own(h.SessionID, h.Email)
	w.add(operation{kind: begin, subject: h.SessionID, given: h.Refresh, outcome: ok}, call)
}

// check records the use of the holder's cookie, or access token.
func (w witness) check(ctx context.Context, h *holder) answer {
	call := w.now()
	a := w.client.session(ctx, h.as())
	w.used(h.SessionID, a, call)
	return a
}

// used records what an answer says about a session; nothing, if it is about
// something else.
func (w witness) used(session string, a answer, call int64) {
	if out := outcomeOf(a, overCodes...); out != unknown {
		w.Used(session, out == ok, call, w.Late)
	}
}

// spend records the exchange of a refresh token of the holder. It leaves the
// holder as it is.
func (w witness) spend(ctx context.Context, h *holder, token, key string) (tokens, answer) {
	call := w.now()
	next, a := w.client.refresh(ctx, token, key)
	o := operation{kind: spend, subject: h.SessionID, presented: token, given: next.Refresh, key: key, outcome: outcomeOf(a, overCodes...)}
	o.stolen = a.Code == "refresh_reused"
	theft := w.spentLongAgo(token, call)
	w.add(o, call)
	if theft && o.outcome == unknown {
		w.Ended(h.SessionID, false, call)
	}
	switch a.Code {
	case "refresh_reused":
		w.Ended(h.SessionID, true, call)
	case "session_ended":
		w.Used(h.SessionID, false, call, 0)
	}
	return next, a
}

// spentLongAgo reports whether a token was exchanged so long before that presenting
// it again may be a theft.
func (r *recorder) spentLongAgo(token string, call int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, known := r.spent[token]
	return known && call-at > int64(r.Grace)
}

// renew is spend with a key of its own, after which the holder has the successor.
func (w witness) renew(ctx context.Context, h *holder) answer {
	next, a := w.spend(ctx, h, h.Refresh, newKey())
	if a.OK() {
		h.Access, h.Refresh = next.Access, next.Refresh
	}
	return a
}

// signOut records the end of the holder's session by itself.
func (w witness) signOut(ctx context.Context, h *holder) answer {
	call := w.now()
	a := w.client.signOut(ctx, h.as())
	w.ended(h.SessionID, a, call)
	return a
}

// end records the end of the holder's session by an administrator.
func (w witness) end(ctx context.Context, h *holder) answer {
	call := w.now()
	a := w.client.end(ctx, h.SessionID)
	w.ended(h.SessionID, a, call)
	return a
}

func (w witness) ended(session string, a answer, call int64) {
	switch {
	case a.OK():
		w.Ended(session, true, call)
	case a.Status == http.StatusNotFound || slices.Contains(overCodes, a.Code):
		w.Used(session, false, call, 0)
	case a.Refused(): // about something else
	default:
		w.Ended(session, false, call)
	}
}

// changePassword records a new password, and the end of all other sessions of the
// person. On success the holder has it.
func (w witness) changePassword(ctx context.Context, h *holder, fresh string) answer {
	call := w.now()
	a := w.client.changePassword(ctx, h.as(), h.Password, fresh)
	if slices.Contains(overCodes, a.Code) {
		w.Used(h.SessionID, false, call, 0)
		return a
	}
	out := outcomeOf(a, "invalid_credentials")
	if out == refused || !a.Refused() {
		w.add(operation{kind: newSecret, subject: h.Email, presented: h.Password, given: fresh, outcome: out}, call)
	}
	if out != refused && !a.Refused() {
		w.endOthers(h, out == ok, call)
	}
	if out == ok {
		h.Password = fresh
	}
	return a
}

// endOthers records that the other sessions of the person have ended. Of those that
// began meanwhile nobody knows.
func (r *recorder) endOthers(h *holder, certain bool, call int64) {
	r.mu.Lock()
	before := map[string]bool{}
	for _, o := range r.operations {
		if o.kind == begin && r.owners[o.subject] == h.Email {
			before[o.subject] = o.ret < call
		}
	}
	r.mu.Unlock()
	for session, sure := range before {
		if session != h.SessionID {
			r.Ended(session, certain && sure, call)
		}
	}
}
