package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// Noticed sets the observer of the notices of sign-outs: it is called after each commit
// of this DB that may have made one, from many goroutines. Set it before the first step.
func (db *DB) Noticed(observe func()) { db.notices.Store(&observe) }

func (db *DB) tellNoticed() {
	if observe := db.notices.Load(); observe != nil {
		(*observe)()
	}
}

// watchGrant has the client of a grant told when the grant is over, if it wants to be.
const watchGrant = `
	INSERT INTO logout_watch (grant_id, session_id, client_id, began_at, given_at, look_at)
	SELECT g.id, g.session_id, g.client_id, s.created_at, g.created_at,
		CASE WHEN s.expires_at < s.last_seen_at + s.idle_ms THEN s.expires_at ELSE s.last_seen_at + s.idle_ms END
	FROM session_grant g JOIN session s ON s.id = g.session_id JOIN client c ON c.id = g.client_id
	WHERE g.id = $1 AND c.told`

// noticeColumns are the first of a notice; what follows is where each comes from. $1 is
// the time, and $2 when the notice is no longer worth sending.
const noticeColumns = `
	INSERT INTO logout_notice (id, client_id, account_id, created_at, expires_at, due_at)
	SELECT w.grant_id, w.client_id, s.account_id, $1, $2, $1 `

// noticeOf makes notices of watched grants, $3 to $n+2. They are inserted in the order of
// their ids, so that no two steps that want the same ones wait for each other.
func noticeOf(n int) string {
	return noticeColumns + `
	FROM logout_watch w JOIN session s ON s.id = w.session_id
	WHERE w.grant_id IN (` + places(3, n) + `) ORDER BY w.grant_id ON CONFLICT (id) DO NOTHING`
}

func unwatch(n int) string {
	return `DELETE FROM logout_watch WHERE grant_id IN (` + places(1, n) + `)`
}

// places are $first and so on, n of them.
func places(first, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(all, ", ")
}

// noticeChunks are how many grants one statement takes: as many as there are, and then
// fewer, so that there are few texts.
var noticeChunks = []int{64, 8, 1}

var noticeMany, unwatchMany = eachChunk(noticeOf), eachChunk(unwatch)

func eachChunk(text func(int) string) map[int]string {
	all := map[int]string{}
	for _, n := range noticeChunks {
		all[n] = text(n)
	}
	return all
}

// tellEnded makes a notice of each of these grants whose client is to be told.
func (s *step) tellEnded(grants []string) error {
	slices.Sort(grants)
	for _, n := range noticeChunks {
		for ; len(grants) >= n; grants = grants[n:] {
			var ids []any
			for _, id := range grants[:n] {
				ids = append(ids, id)
			}
			if err := s.later(noticeMany[n], append(s.noticeTimes(), ids...)...); err != nil {
				return fmt.Errorf("make notices of grants: %w", err)
			}
			if err := s.later(unwatchMany[n], ids...); err != nil {
				return fmt.Errorf("watch grants no longer: %w", err)
			}
		}
	}
	return nil
}

func (s *step) noticeTimes() []any {
	return []any{s.at.UnixMilli(), s.at.Add(oauth.NoticeWorth).UnixMilli()}
}

const noticeOfUser = noticeColumns + `
	FROM session s JOIN logout_watch w ON w.session_id = s.id
	WHERE s.account_id = $3 ORDER BY w.grant_id ON CONFLICT (id) DO NOTHING`

const unwatchUser = `
	DELETE FROM logout_watch WHERE session_id IN (SELECT s.id FROM session s WHERE s.account_id = $1)`

// tellOfUser makes a notice of each grant of a user whose client is to be told. The rows
// of the sessions are held, and may be gone by the end of the step.
func (s *step) tellOfUser(id string) error {
	if err := s.later(noticeOfUser, append(s.noticeTimes(), id)...); err != nil {
		return fmt.Errorf("make the notices of a user: %w", err)
	}
	if err := s.later(unwatchUser, id); err != nil {
		return fmt.Errorf("watch the grants of a user no longer: %w", err)
	}
	return nil
}

// writeNotices makes the notices of the grants that the step has ended: it has an ending
// for each one that is not of the operator's own applications.
func (s *step) writeNotices() error {
	var grants []string
	for _, e := range s.ends {
		if e.kind == feed.Grant {
			grants = append(grants, e.id)
		}
	}
	return s.tellEnded(grants)
}

// mayTell reports whether the step may have made a notice, or something for [DB.Lapse].
func (s *step) mayTell() bool {
	return slices.ContainsFunc(s.ends, func(e ending) bool { return e.kind == feed.Grant || e.over() })
}

// Of what is over by time alone, or by what ended more than one step could name, nobody
// made a notice yet. A session that was seen lately may be known to be so by a node that
// has not written it down: $2 is how long that takes.
const lapsedGrants = `
	SELECT due.grant_id, CASE
		WHEN g.ended_at IS NOT NULL OR s.ended_at IS NOT NULL OR s.closed OR a.disabled OR c.disabled
			OR s.expires_at <= t.now OR s.last_seen_at + s.idle_ms + $2 <= t.now
			OR s.created_at / 1000 <= a.over_before OR g.created_at / 1000 <= c.over_before THEN 0
		WHEN s.expires_at < s.last_seen_at + s.idle_ms + $2 THEN s.expires_at
		ELSE s.last_seen_at + s.idle_ms + $2 END
	FROM (SELECT grant_id, session_id, client_id FROM logout_watch
			WHERE look_at <= (SELECT t.now FROM ` + storeTime + `) ORDER BY look_at LIMIT 200) due
	JOIN session_grant g ON g.id = due.grant_id JOIN session s ON s.id = due.session_id
	JOIN account a ON a.id = s.account_id JOIN client c ON c.id = due.client_id CROSS JOIN ` + storeTime + `
	ORDER BY due.grant_id`

const lookLater = `UPDATE logout_watch SET look_at = $2 WHERE grant_id = $1`

// endedForAll are grants that are over because everything was.
const endedForAll = `
	SELECT w.grant_id FROM logout_watch w
	WHERE w.began_at < (SELECT (i.over_before + 1) * 1000 FROM issuer i) ORDER BY w.began_at LIMIT 200`

// endedClients are clients of which everything was ended, and grants are left.
const endedClients = `
	SELECT who.id FROM client who
	WHERE who.told AND (who.over_before + 1) * 1000 > (SELECT min(w.given_at) FROM logout_watch w WHERE w.client_id = who.id)
	ORDER BY who.id LIMIT 200`

// endedOfClient are those grants.
const endedOfClient = `
	SELECT w.grant_id FROM logout_watch w
	WHERE w.client_id = $1 AND w.given_at < (SELECT (who.over_before + 1) * 1000 FROM client who WHERE who.id = $1)
	ORDER BY w.given_at LIMIT 200`

// lapses is how many grants [DB.Lapse] looks at for each reason.
const lapses = 200

const anyLapsed = `
	SELECT COALESCE((SELECT min(w.look_at) FROM logout_watch w) <= t.now, FALSE)
		OR COALESCE((SELECT min(w.began_at) FROM logout_watch w) < (i.over_before + 1) * 1000, FALSE)
		OR EXISTS (` + endedClients + `)
	FROM issuer i CROSS JOIN ` + storeTime

// Lapse makes notices of what is over and has none. See [oauth.NoticeStore].
func (db *DB) Lapse(ctx context.Context, unwritten time.Duration) (told int, more bool, err error) {
	var some bool
	if err := db.engine.read().QueryRowContext(ctx, anyLapsed, db.clock()).Scan(&some); err != nil || !some {
		return 0, false, wrapped("look for grants that have lapsed", err)
	}
	err = db.step(ctx, "lapse", func(s *step) error {
		over, looked, err := s.lapsed(unwritten)
		if err != nil {
			return err
		}
		ended, full, err := s.endedAtOnce()
		if err != nil {
			return err
		}
		over = append(over, ended...)
		slices.Sort(over)
		over = slices.Compact(over)
		told, more = len(over), full || looked == lapses
		return s.tellEnded(over)
	})
	if err != nil {
		return 0, false, err
	}
	return told, more, nil
}

// endedAtOnce returns grants that were ended together with all others, or with all of
// their client. Full says that there may be more.
func (s *step) endedAtOnce() (over []string, full bool, err error) {
	over, err = s.ids(endedForAll)
	if err != nil {
		return nil, false, fmt.Errorf("find grants that were ended with all others: %w", err)
	}
	full = len(over) == lapses
	clients, err := s.ids(endedClients)
	if err != nil {
		return nil, false, fmt.Errorf("find clients that were ended: %w", err)
	}
	for i, client := range clients {
		ids, err := s.ids(endedOfClient, client)
		if err != nil {
			return nil, false, fmt.Errorf("find the grants of a client: %w", err)
		}
		over = append(over, ids...)
		full = full || len(ids) == lapses
		if len(over) >= lapses {
			return over, full || i < len(clients)-1, nil
		}
	}
	return over, full, nil
}

// lapsed looks at the grants that are due for it, returns those that are over, and puts
// off the others.
func (s *step) lapsed(unwritten time.Duration) (over []string, looked int, err error) {
	type look struct {
		grant string
		next  int64 // 0: it is over
	}
	rows, err := s.run.QueryContext(s.ctx, lapsedGrants, s.at.UnixMilli(), unwritten.Milliseconds())
	looks, err := collect(rows, err, func(r row) (l look, err error) { return l, r.Scan(&l.grant, &l.next) })
	if err != nil {
		return nil, 0, fmt.Errorf("look whether grants have lapsed: %w", err)
	}
	for _, l := range looks {
		if l.next == 0 {
			over = append(over, l.grant)
		} else if err := s.later(lookLater, l.grant, l.next); err != nil {
			return nil, 0, fmt.Errorf("put off to look at a grant: %w", err)
		}
	}
	return over, len(looks), nil
}

// wrapped says what failed, if something did.
func wrapped(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
