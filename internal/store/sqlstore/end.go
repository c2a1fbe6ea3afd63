package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

// End ends what is said. See [session.Store].
func (db *DB) End(ctx context.Context, what session.Ending, e audit.Entry, notices ...mail.Message) (int, error) {
	var n int
	err := db.step(ctx, "end", func(s *step) (err error) {
		if n, err = s.endWhat(what); err != nil || n == 0 {
			return err
		}
		if e.Event == "" {
			e.Event = audit.SessionsEnded
		}
		s.audit(e)
		s.post(notices...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *step) endWhat(what session.Ending) (int, error) {
	switch what.Kind {
	case feed.Session:
		if what.ID != "" {
			return s.endSession(what.ID, what.UserID, what.Reason)
		}
		return s.endSessions(what.UserID, what.Except, what.Reason)
	case feed.Grant:
		if what.ID != "" {
			return s.endGrant(what.ID, what.UserID, what.Reason)
		}
		return s.endClientOf(what)
	case feed.User:
		if _, err := s.holdUser(what.ID); errors.Is(err, account.ErrNoUser) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
		return 1, s.endUser(what.ID, what.Reason)
	case feed.Client:
		return s.endClient(what.ID, what.Reason)
	case feed.All:
		return s.endAll(what.Reason)
	}
	return 0, fmt.Errorf("a %q cannot be ended", what.Kind)
}

const holdClient = `UPDATE client SET over_before = over_before WHERE id = $1`

func (s *step) endClient(id, reason string) (int, error) {
	n, err := s.exec(holdClient, id)
	if err != nil {
		return 0, fmt.Errorf("hold a client: %w", err)
	}
	if n > 0 {
		s.end(feed.Client, id, reason)
	}
	return int(n), nil
}

const holdIssuer = `UPDATE issuer SET over_before = over_before`

func (s *step) endAll(reason string) (int, error) {
	if _, err := s.exec(holdIssuer); err != nil {
		return 0, fmt.Errorf("hold the issuer: %w", err)
	}
	s.end(feed.All, "", reason)
	return 1, nil
}

const endSession = `
	UPDATE session AS s
	SET ended_at = t.now, end_reason = $2, sweep_at = CASE WHEN s.sweep_at < t.now THEN s.sweep_at ELSE t.now END
	FROM account a, issuer i, ` + storeTime + `
	WHERE s.id = $3 AND ($4 = '' OR s.account_id = $4) AND a.id = s.account_id AND ` + live

const liveSessions = `
	SELECT s.id FROM ` + liveTables + ` WHERE s.account_id = $2 AND s.id <> $3 AND ` + live + ` ORDER BY s.id`

// grantsBeside finds the live grants of a session whose tokens do not name it.
const grantsBeside = `
	SELECT g.id FROM session_grant g JOIN client c ON c.id = g.client_id
	WHERE g.session_id = $1 AND g.ended_at IS NULL AND NOT c.first_party ORDER BY g.id`

// endSession ends one session, if it is live, and of that user if one is named.
func (s *step) endSession(id, userID, reason string) (int, error) {
	n, err := s.exec(endSession, s.at.UnixMilli(), reason, id, userID)
	if err != nil {
		return 0, fmt.Errorf("end a session: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	s.end(feed.Session, id, reason)
	return 1, s.logGrants(grantsBeside, id, reason)
}

// endSessions ends the live sessions of a user but one.
func (s *step) endSessions(userID, except, reason string) (int, error) {
	ids, err := s.ids(liveSessions, s.at.UnixMilli(), userID, except)
	if err != nil {
		return 0, fmt.Errorf("find the sessions of a user: %w", err)
	}
	return s.endEach(ids, reason)
}

// endEach ends sessions one by one, and counts those that nobody else has ended.
func (s *step) endEach(ids []string, reason string) (int, error) {
	ended := 0
	for _, id := range ids {
		n, err := s.endSession(id, "", reason)
		if err != nil {
			return 0, err
		}
		ended += n
	}
	return ended, nil
}

func (s *step) logGrants(query, id, reason string) error {
	grants, err := s.ids(query, id)
	if err != nil {
		return fmt.Errorf("find the grants of what ended: %w", err)
	}
	for _, grant := range grants {
		s.end(feed.Grant, grant, reason)
	}
	return nil
}

// pairwiseGrants finds the live grants of a user whose tokens do not name the user.
const pairwiseGrants = `
	SELECT g.id FROM session s JOIN session_grant g ON g.session_id = s.id JOIN client c ON c.id = g.client_id
	WHERE s.account_id = $1 AND s.ended_at IS NULL AND g.ended_at IS NULL AND c.pairwise ORDER BY g.id`

const closeSessions = `
	UPDATE session SET closed = TRUE, sweep_at = CASE WHEN sweep_at < $2 THEN sweep_at ELSE $2 END
	WHERE account_id = $1 AND NOT closed`

// endUser ends all that a user has, whose row the step holds: in every step it
// comes before the sessions. They are closed one by one, so that a rotation that
// is under way meets this step at the row of its session.
func (s *step) endUser(id, reason string) error {
	s.end(feed.User, id, reason)
	if err := s.logGrants(pairwiseGrants, id, reason); err != nil {
		return err
	}
	if _, err := s.exec(closeSessions, id, s.at.UnixMilli()); err != nil {
		return fmt.Errorf("close the sessions of a user: %w", err)
	}
	return s.tellOfUser(id)
}

const endGrant = `
	UPDATE session_grant AS g SET ended_at = t.now, end_reason = $2
	FROM session s, account a, client c, issuer i, ` + storeTime + `
	WHERE g.id = $3 AND g.ended_at IS NULL AND ($4 = '' OR s.account_id = $4)
		AND c.id = g.client_id AND NOT c.disabled AND g.created_at / 1000 > c.over_before
		AND s.id = g.session_id AND a.id = s.account_id AND ` + live

func (s *step) endGrant(id, userID, reason string) (int, error) {
	n, err := s.exec(endGrant, s.at.UnixMilli(), reason, id, userID)
	if err != nil {
		return 0, fmt.Errorf("end a grant: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	s.end(feed.Grant, id, reason)
	return 1, nil
}

const liveGrantsOfClient = `
	SELECT g.id FROM session s JOIN session_grant g ON g.session_id = s.id
	WHERE s.account_id = $1 AND s.ended_at IS NULL AND g.client_id = $2 AND g.ended_at IS NULL ORDER BY g.id`

const liveSessionsOfClient = `
	SELECT s.id FROM ` + liveTables + ` WHERE s.account_id = $2 AND s.client_id = $3 AND ` + live + ` ORDER BY s.id`

const removeCodesOfClient = `
	DELETE FROM authorization_code WHERE client_id = $2 AND spent_at IS NULL
		AND session_id IN (SELECT s.id FROM session s WHERE s.account_id = $1)`

// endClientOf ends what a client has with a user. It holds the user's row, as whoever
// redeems a code does.
func (s *step) endClientOf(what session.Ending) (int, error) {
	if _, err := s.holdUser(what.UserID); errors.Is(err, account.ErrNoUser) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	if _, err := s.exec(removeCodesOfClient, what.UserID, what.ClientID); err != nil {
		return 0, fmt.Errorf("remove the codes of a client: %w", err)
	}
	own, err := s.ids(liveSessionsOfClient, s.at.UnixMilli(), what.UserID, what.ClientID)
	if err != nil {
		return 0, fmt.Errorf("find the sessions of a client: %w", err)
	}
	ended, err := s.endEach(own, what.Reason)
	if err != nil {
		return 0, err
	}
	grants, err := s.ids(liveGrantsOfClient, what.UserID, what.ClientID)
	if err != nil {
		return 0, fmt.Errorf("find the grants of a client: %w", err)
	}
	for _, id := range grants {
		n, err := s.endGrant(id, "", what.Reason)
		if err != nil {
			return 0, err
		}
		ended += n
	}
	return ended, nil
}
