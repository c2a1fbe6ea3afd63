package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/device"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An activity is one thing that happened to the person's own account, for them to
// recognise, or not.
type activity struct {
	Key     string    `json:"key" about:"what happened; the pages have words for each"`
	At      time.Time `json:"at"`
	Device  string    `json:"device,omitzero" about:"of whoever did it, unless that was an administrator or the server"`
	IP      string    `json:"ip,omitzero" about:"likewise"`
	Place   string    `json:"place,omitzero" about:"where that address is, if a database says so"`
	Client  string    `json:"client,omitzero" about:"the name of the application that it is about"`
	Current bool      `json:"current,omitzero" about:"the session that asks did it"`
}

// activityPage is how many activities are shown at a time.
const activityPage = 20

// What an audit event is called towards the person, by who did it. An event without a
// row concerns nobody's account, or one that is gone.
var activityKeys = map[audit.Event]struct{ own, others string }{
	audit.SignedUp:          {own: "signed_up"},
	audit.SignedIn:          {own: "signed_in"},
	audit.SignInFailed:      {own: "sign_in_failed"},
	audit.Reauthenticated:   {own: "reauthenticated"},
	audit.SessionEnded:      {own: "session_ended", others: "session_ended_by_administrator"},
	audit.SessionsEnded:     {own: "sessions_ended", others: "sessions_ended_by_administrator"},
	audit.RefreshReused:     {own: "refresh_reused"},
	audit.PasswordChanged:   {own: "password_changed", others: "password_changed_by_administrator"},
	audit.UserAdded:         {own: "account_made"},
	audit.UserChanged:       {own: "profile_changed", others: "profile_changed_by_administrator"},
	audit.UserDisabled:      {own: "account_disabled"},
	audit.UserEnabled:       {own: "account_enabled"},
	audit.AdministratorMade: {own: "administrator_made"},
	audit.SignUpAsked:       {own: "sign_up_asked"},
	audit.VerificationAsked: {own: "verification_asked"},
	audit.EmailVerified:     {own: "email_verified"},
	audit.ResetAsked:        {own: "reset_asked"},
	audit.PasswordReset:     {own: "password_reset"},
	audit.EmailChangeAsked:  {own: "email_change_asked"},
	audit.EmailChanged:      {own: "email_changed"},
	audit.UserInvited:       {own: "invited"},
	audit.GrantOpened:       {own: "application_signed_in"},
	audit.GrantEnded:        {own: "application_disconnected", others: "application_left"},
	audit.CodeReused:        {own: "code_reused"},
	audit.ConsentGiven:      {own: "consent_given"},
	audit.ConsentRemoved:    {own: "consent_removed", others: "consent_removed_by_administrator"},
	audit.CodeFailed:        {own: "code_failed"},
	audit.LinkRefused:       {own: "link_refused"},
}

// The keys that do not hang on the event alone.
const (
	keyRefused       = "sign_in_refused"         // a sign-in failed because there were too many
	keySignedOut     = "signed_out"              // a session ended by its own sign-out
	keyEndedByServer = "session_ended_by_server" // for a reason of its own
)

// ActivityKeys returns every key of the security activity, sorted: each has its words in
// the catalogue as "activity." and the key.
func ActivityKeys() []string {
	keys := []string{keyRefused, keySignedOut, keyEndedByServer}
	for _, key := range activityKeys {
		keys = append(keys, key.own)
		if key.others != "" {
			keys = append(keys, key.others)
		}
	}
	slices.Sort(keys)
	return keys
}

// activityKey says what an entry about this person's account is called towards them;
// foreign says that somebody else did it by right: an administrator, or the server.
func activityKey(e *audit.Entry) (key string, foreign bool) {
	keys := activityKeys[e.Event]
	foreign = e.Actor != "" && e.Actor != e.UserID
	switch {
	case e.Event == audit.SignInFailed && e.Outcome == "too_many_attempts":
		return keyRefused, foreign
	case e.Event == audit.SessionEnded && !foreign && e.Subject == "sign_out":
		return keySignedOut, false
	case e.Event == audit.SessionEnded && (e.Actor == "system" || e.Actor == ""):
		return keyEndedByServer, true
	case keys.own == "":
		return string(e.Event), foreign
	case foreign && keys.others != "":
		return keys.others, true
	}
	return keys.own, foreign
}

// listActivity lists what happened to the person's own account, newest first.
func (s *Server) listActivity(x *exchange) error {
	w, _, err := windowOf(x)
	if err != nil {
		return err
	}
	shown, err := s.activityIn(x, w)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, shown)
}

// activities is the same for a page; cursor is Next of the one before, or "".
func (s *Server) activities(x *exchange, cursor string) (list[activity], error) {
	w := window{list: home + "#activity", limit: activityPage}
	var err error
	if w.after, err = w.open(cursor); err != nil {
		return list[activity]{}, err
	}
	return s.activityIn(x, w)
}

func (s *Server) activityIn(x *exchange, w window) (list[activity], error) {
	before, err := strconv.ParseInt("0"+w.after, 10, 64)
	if err != nil {
		return list[activity]{}, errCursor
	}
	rows, err := s.Audit.Entries(x.Context(), audit.Filter{UserID: x.holder.UserID()}, before, w.limit+1)
	if err != nil {
		return list[activity]{}, fmt.Errorf("list what happened: %w: %w", fault.ErrUnavailable, err)
	}
	position := func(e *audit.Entry) string { return strconv.FormatInt(e.Seq, 10) }
	return pageOf(w, rows, position, func(e *audit.Entry) activity { return s.activityOf(x, e) }), nil
}

func (s *Server) activityOf(x *exchange, e *audit.Entry) activity {
	key, foreign := activityKey(e)
	a := activity{Key: key, At: e.At.UTC(), Current: e.SessionID != "" && e.SessionID == x.holder.SessionID() && e.Event == audit.SignedIn}
	a.Client = s.applicationOf(x, e)
	if e.Event == audit.GrantOpened || e.Event == audit.CodeReused { // the application's server did it
		return a
	}
	if !foreign {
		a.Device, a.IP, a.Place = device.Name(e.UserAgent), e.IP, s.placeOf(x, e.IP)
		if e.Event == audit.SignedIn && e.Subject != "" { // as the application calls it
			a.Device = e.Subject
		}
	}
	return a
}

// placeOf names the place of an address in the language of who asks; "" where nothing is
// known.
func (s *Server) placeOf(x *exchange, ip string) string {
	return s.Place.Name(ip, x.from().Language)
}

// ownSessionOf shows the holder one of their sessions.
func (s *Server) ownSessionOf(x *exchange, l *session.Listed) ownSession {
	out := ownSessionOf(l, x.holder.SessionID())
	out.Place = s.placeOf(x, out.IP)
	return out
}
