package sqlstore

import (
	"fmt"
	"strings"
	"time"
)

// crowded is how many sessions there are where statements are planned, with as many
// grants, and a fifth as many users.
const crowded = 20_000

// few is how many rows upkeep takes at a time there: as few of all as it takes elsewhere.
const few = 10

// crowdNow is the time then, in milliseconds.
var crowdNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixMilli()

// What the arguments below name. Each is there.
const (
	someSession, someGrant = "ses_0000002345", "grt_0000002345"
	someUser, someAddress  = "usr_0000002345", "person2345@example.com"
	someLink, someLetter   = "lnk_0000002345", "msg_0000002345"
	someCode               = "cod_0000002345"
)

var someHash = []byte(strings.Repeat("h", 32))

// A lookup is a statement as requests and upkeep run it, on tables that grow.
type lookup struct {
	name, query string
	args        []any
}

// lookups are all of them: TestEveryStatementIsPlanned holds the list to the package.
func lookups() []lookup {
	now, month := crowdNow, crowdNow-30*24*time.Hour.Milliseconds()
	list := []any{crowdNow, "~", 100}
	chunk := append([]any{now}, seenArgs(touchChunk)...)
	return append([]lookup{
		{"account by id", findUser, []any{someUser}},
		{"account by address", findByEmail, []any{someAddress}},
		{"accounts", listUsers, []any{someUser, 100}},
		{"hold an account", holdUser, []any{someUser}},
		{"is there an account", hasUser, []any{someUser}},
		{"change an account", changeUser, []any{someUser, "Ada", "", true, false}},
		{"set a password", setPassword, []any{someUser, "new", "old", 1}},
		{"reset a password", resetPassword, []any{someUser, "new"}},
		{"set an address", setAddress, []any{someUser, "new@example.com", "new@example.com"}},
		{"remove an account", deleteUser, []any{someUser}},
		{"add an account", addUser, []any{"usr_new", "new@example.com", "new@example.com", true, "Ada", "", "hash", false, now, 0, 0}},
		{"raise a user", raiseUser, []any{someUser, now / 1000}},
		{"raise a user's change", raiseUserChange, []any{someUser, now / 1000}},
		{"terms", terms, []any{now, someUser, "first-party"}},
		{"standing of a session", ofSession, []any{now, someSession}},
		{"standing of a grant", ofGrant, []any{now, someGrant}},
		{"add a session", addSession, []any{"ses_new", someUser, "first-party", someHash, now, now, 1, now, now, "", "", "", "", "", true, 0, now}},
		{"add a grant", addGrant, []any{"grt_new", someSession, "first-party", "", "", 1, someHash, someHash[:16], nil, nil, now, ""}},
		{"oldest sessions", oldestBeyond, []any{now, someUser, someSession, 4}},
		{"renew a session", renewSession, []any{now, someHash, "", "", now / 1000, someSession, someHash}},
		{"raise a session's change", raiseSessionChange, []any{someSession, now / 1000}},
		{"touch one", touchOne, chunk[:3]},
		{"touch many", touchMany, chunk},
		{"sessions", listSessions, list},
		{"sessions of a user", listSessionsOfUser, append(list, someUser)},
		{"devices of a user", hasDevice, []any{someUser, "Firefox", someHash}},
		{"kept sessions", keptSessions, []any{someUser, "~", 100}},
		{"kept grants", keptGrants, []any{someUser, "~", ""}},
		{"live sessions of a user", liveSessions, []any{now, someUser, someSession}},
		{"hold a session", holdLive, []any{now, someGrant, 1, someHash, true}},
		{"rotate a grant", rotateGrant, []any{now, someGrant, 1, someHash, someHash, someHash[:16], []byte{}}},
		{"end a session", endSession, []any{now, "signed_out", someSession, ""}},
		{"end a grant", endGrant, []any{now, "ended", someGrant, ""}},
		{"close the sessions of a user", closeSessions, []any{someUser, now}},
		{"grants beside", grantsBeside, []any{someSession}},
		{"pairwise grants", pairwiseGrants, []any{someUser}},
		{"attachment", readAttachment, []any{someSession}},
		{"first attachment", firstAttachment, []any{someSession, someHash}},
		{"swap an attachment", swapAttachment, []any{someSession, someHash, 1}},
		{"is live", isLive, []any{now, someSession}},
		{"sweep", sweepOver(few), []any{month}},
		{"sweep all", sweepAll(few), []any{month}},
		{"put off the sweep", sweepLater(few), []any{month}},
	}, append(append(codeLookups(now), logoutLookups(now)...), otherLookups(now)...)...)
}

// codeLookups are those of codes and of what they give.
func codeLookups(now int64) []lookup {
	return []lookup{
		{"add a code", addCode, []any{now, "cod_new", someHash, "request", someSession, "cli_1", "", "", "", "", "", "", false, 60_000, 32}},
		{"is a request answered", isAnswered, []any{"request of " + someCode}},
		{"remove the oldest codes", removeOldCodes, []any{someSession, 31}},
		{"standing of a code", ofCode, []any{now, someCode}},
		{"hold the user of a code", holdCodesUser, []any{someCode}},
		{"hold the session of a code", holdCodesSession, []any{someCode}},
		{"spend a code", spendCode, []any{now, someCode, "grt_new", now}},
		{"add a client's session", addOffline, []any{"ses_new", someUser, someHash, now, now, 1, now, now, "", "", "", "", "", true, 0, now, "cli_1"}},
		{"surplus grants", surplusGrants, []any{someSession, "cli_1", someGrant, 15}},
		{"surplus sessions of a client", surplusOffline, []any{now, someUser, "cli_1", someSession, 15}},
		{"sweep codes", sweepCodes(few), []any{now - 60_000}},
		{"terms of a client", ofClient, []any{now, "cli_1"}},
		{"grants of a user", grantsOf, []any{now, someUser, 1000}},
		{"grants of a client with a user", liveGrantsOfClient, []any{someUser, "cli_1"}},
		{"sessions of a client with a user", liveSessionsOfClient, []any{now, someUser, "cli_1"}},
		{"codes of a client with a user", removeCodesOfClient, []any{someUser, "cli_1"}},
	}
}

// logoutLookups are those of sign-outs that clients are told of.
func logoutLookups(now int64) []lookup {
	some := make([]any, noticeChunks[0])
	for i := range some {
		some[i] = fmt.Sprintf("grt_%010d", 100*i)
	}
	return []lookup{
		{"watch a grant", watchGrant, []any{someGrant}},
		{"notice of a grant", noticeOf(1), []any{now, now, someGrant}},
		{"notices of grants", noticeMany[noticeChunks[0]], append([]any{now, now}, some...)},
		{"a grant that is not watched", unwatch(1), []any{someGrant}},
		{"grants that are not watched", unwatchMany[noticeChunks[0]], some},
		{"notices of a user", noticeOfUser, []any{now, now, someUser}},
		{"a user who is not watched", unwatchUser, []any{someUser}},
		{"has anything lapsed", anyLapsed, []any{now}},
		{"what may have lapsed", lapsedGrants, []any{now, 60_000}},
		{"look at a grant later", lookLater, []any{someGrant, now}},
		{"grants of everyone", endedForAll, nil},
		{"clients that were ended", endedClients, nil},
		{"grants of a client that was ended", endedOfClient, []any{"cli_1"}},
		{"whose notices are due", dueNotices, []any{now}},
		{"claim notices", claimNotices(few), []any{"lease", now, now, "cli_1"}},
		{"a notice that was sent", removeNotice, []any{someGrant, "lease"}},
		{"postpone a notice", postponeNotice, []any{someGrant, "lease", now, ""}},
		{"bury a notice", buryNotice, []any{someGrant, "lease", now, ""}},
		{"dead notices", forgetNotices, []any{now - time.Hour.Milliseconds()}},
	}
}

// otherLookups are those of the logs, of links and of mails.
func otherLookups(now int64) []lookup {
	year := now - 400*24*time.Hour.Milliseconds()
	return []lookup{
		{"tail", since, []any{now, crowded - 1, 1000}},
		{"take numbers", takeNumbers, []any{1, 7, now, 0, 0}},
		{"append to the log", addRevocation, []any{crowded + 1, 7, "session", someSession, 0, "", now / 1000, now / 1000}},
		{"prune", prune(few), []any{now}},
		{"take numbers of the audit log", takeAuditNumbers, []any{1}},
		{"append to the audit log", addAudit, []any{2*crowded + 1, now, "signed_in", "ok", "", someUser, someSession, "", "", "", ""}},
		{"audit", listAudit + newestFirst, []any{crowded, 100}},
		{"audit of a user", listAudit + ofUser + newestFirst, []any{crowded, 100, someUser}},
		{"audit of an event", listAudit + ofEvent + newestFirst, []any{crowded, 100, "signed_in"}},
		{"audit of both", listAudit + ofUserAndEvent + newestFirst, []any{crowded, 100, someUser, "signed_in"}},
		{"forget", forgetAudit(few), []any{year}},
		{"find a link", findLink, []any{now, someLink}},
		{"guess at links", guessLinks, []any{someAddress, now}},
		{"spend a link", spendLink, []any{now, someLink}},
		{"replace links of a user", replaceOfUser, []any{now, "reset", someUser}},
		{"replace links to an address", replaceOfAddress, []any{now, "sign_up", someAddress, 4}},
		{"links that make an account", endMakers, []any{now, someAddress}},
		{"user of a link", userOfLink, []any{someLink}},
		{"links of a former password", endTakeovers, []any{now, someUser}},
		{"links of a user", endAllOfUser, []any{now, someUser}},
		{"count", countSessions, []any{now, "", few}},
		{"kept links", linksOf, []any{someUser, someAddress}},
		{"add a link", addLink, []any{"lnk_new", "reset", someUser, "a@example.com", "a@example.com", nil, "", "", "", false, now, now}},
		{"sweep links", sweepLinks(few), []any{now}},
		{"add a mail", addLetter, []any{"msg_new", "reset", "a@example.com", "en", "", "{}", now, now}},
		{"next mail", nextDue, nil},
		{"claim mails", claimLetters(few), []any{"lease", now, now}},
		{"a mail that was sent", removeLetter, []any{someLetter, "lease"}},
		{"postpone a mail", postponeLetter, []any{someLetter, "lease", now, ""}},
		{"bury a mail", buryLetter, []any{someLetter, "lease", now, ""}},
		{"put a consent", putConsent, []any{someUser, "first-party", "openid", "", now}},
		{"find a consent", findConsent, []any{someUser, "first-party"}},
		{"consents of a user", listConsents, []any{someUser}},
		{"remove a consent", removeConsent, []any{someUser, "first-party"}},
		{"spend an assertion", spendAssertion, []any{"a new one", now}},
		{"sweep assertions", sweepAssertions(few), []any{now}},
		{"dead letters", forgetDead, []any{now - time.Hour.Milliseconds()}},
	}
}

// seenArgs are the arguments that touch so many sessions.
func seenArgs(pairs int) []any {
	var args []any
	for i := range pairs {
		args = append(args, someSession[:len(someSession)-2]+string(rune('0'+i/10))+string(rune('0'+i%10)), crowdNow)
	}
	return args
}

// sharedLookups are the look-ups and rotations that go together on PostgreSQL.
func sharedLookups() []lookup {
	var all []lookup
	for _, n := range []int{1, 10, 100} {
		var sessions, grants, codes, clients []string
		var generations []int64
		var hashes, salts, rotations [][]byte
		var seen []bool
		for i := range n {
			sessions, grants = append(sessions, fmt.Sprintf("ses_%010d", 100*i)), append(grants, fmt.Sprintf("grt_%010d", 100*i))
			codes, clients = append(codes, fmt.Sprintf("cod_%010d", 100*i)), append(clients, fmt.Sprint("cli_", i%6))
			generations, seen = append(generations, 1), append(seen, true)
			hashes, salts, rotations = append(hashes, someHash), append(salts, someHash[:16]), append(rotations, nil)
		}
		many := fmt.Sprintf(", %d at once", n)
		all = append(all, lookup{"standing of a session" + many, lookUps[ofSession], []any{crowdNow, sessions}},
			lookup{"standing of a grant" + many, lookUps[ofGrant], []any{crowdNow, grants}},
			lookup{"standing of a code" + many, lookUps[ofCode], []any{crowdNow, codes}},
			lookup{"terms of a client" + many, lookUps[ofClient], []any{crowdNow, clients}},
			lookup{"rotate grants" + many, rotateMany, []any{crowdNow, "100ms", grants, generations, hashes, hashes, salts, rotations, seen}})
	}
	return all
}
