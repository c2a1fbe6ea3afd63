package sqlstore

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Every look-up in a table that grows goes by an index.
func TestLookupsAreIndexed(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	scan := regexp.MustCompile(`SCAN (outbox|o|s|g|a|c|session|session_grant|account|client|revocation|audit|attachment|link|l)\b`)
	for name, query := range map[string]string{
		"account by id": findUser, "account by email": findByEmail, "accounts": listUsers, "hold an account": holdUser,
		"terms": terms, "standing of a session": ofSession, "standing of a grant": ofGrant,
		"hold a session": holdLive, "rotate": rotateGrant, "renew": renewSession, "touch one": touchOne, "touch many": touchMany,
		"sessions": listSessions, "sessions of a user": listSessionsOfUser, "oldest sessions": oldestBeyond,
		"live sessions of a user": liveSessions, "end a session": endSession, "end a grant": endGrant,
		"close sessions": closeSessions, "grants beside": grantsBeside, "pairwise grants": pairwiseGrants,
		"sweep": sweepOver, "sweep all": sweepAll, "sweep later": sweepLater,
		"attachment": readAttachment, "swap an attachment": swapAttachment, "is live": isLive,
		"tail": since, "prune": prune, "audit": listAudit + newestFirst, "audit of a user": listAudit + ofUser + newestFirst,
		"audit of an event": listAudit + ofEvent + newestFirst, "audit of both": listAudit + ofUserAndEvent + newestFirst,
		"find a link": findLink, "guess at links": guessLinks, "spend a link": spendLink, "replace links of a user": replaceOfUser,
		"replace links to an address": replaceOfAddress, "links that make an account": endMakers, "links of a former password": endTakeovers,
		"links of a user": endAllOfUser, "sweep links": sweepLinks,
		"devices of a user": hasDevice, "kept sessions": keptSessions, "their grants": keptGrants, "kept links": linksOf,
		"next mail": nextDue, "claim mails": claimLetters, "dead letters": forgetDead,
		"forget": forgetAudit, "remove a user": deleteUser,
	} {
		t.Run(name, func(t *testing.T) {
			args := make([]any, 2*touchChunk+1)
			rows, err := db.engine.read().QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+query, args...)
			plan, err := collect(rows, err, func(r row) (detail string, err error) {
				var id, parent, unused int
				return detail, r.Scan(&id, &parent, &unused, &detail)
			})
			must(t, err)
			for _, line := range plan {
				if scan.MatchString(line) {
					t.Errorf("it reads a whole table: %q", plan)
				}
			}
		})
	}
}

func TestLatencyIsTold(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now, Latency: func(step string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took >= 0 {
			told[step]++
		}
	}})
	must(t, db.Hold(t.Context(), time.Minute))
	_, err := db.Since(t.Context(), 0, 1)
	must(t, err)
	_, err = db.Prune(t.Context())
	must(t, err)
	if told["hold"] != 1 || told["since"] != 1 || told["prune"] != 1 {
		t.Errorf("told of %v", told)
	}
}
