package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var listPromises = []promise{
	{"session.Store.List", "List returns up to limit live sessions, by descending id below before (empty: from the newest), of one user or, with an empty userID, of all, with their users.", []proof{
		{"page after page", listPaged},
		{"a page is full however many between are over", listFull},
		{"none that is over in any way", listOver},
	}},
	{"session.Store.List", "Grants are not filled in; Clients names whose they are.", []proof{{"of the grants that live", listNamesClients}}},
}

// list returns the ids of the live sessions of a user, or of all, as listed.
func (f *fixture) list(t *testing.T, userID string) []string {
	t.Helper()
	rows, err := f.Sessions.List(t.Context(), userID, "", 1000)
	must(t, err)
	return sessionIDs(rows)
}

func sessionIDs(rows []session.Listed) []string {
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.Session.ID)
	}
	return ids
}

// count returns the number of live sessions.
func (f *fixture) count(t *testing.T) int {
	t.Helper()
	n, err := f.Upkeep.Count(t.Context())
	must(t, err)
	return n
}

func listPaged(t *testing.T, f *fixture) {
	users := []account.User{f.user(t), f.user(t)}
	all := map[string][]string{}
	want := map[string]session.Listed{}
	for i := range 9 {
		u := users[i%2]
		f.clock.Advance(time.Second)
		in := f.signIn(t, u)
		want[in.ID] = session.Listed{Session: in.Session, Email: u.Email, Clients: []string{session.FirstParty}}
		for _, key := range []string{u.ID, ""} {
			all[key] = append([]string{in.ID}, all[key]...)
		}
	}
	for _, userID := range []string{users[0].ID, users[1].ID, ""} {
		var ids []string
		for before := ""; ; before = ids[len(ids)-1] {
			rows, err := f.Sessions.List(t.Context(), userID, before, 2)
			must(t, err)
			for _, row := range rows {
				equal(t, "a row", row, want[row.Session.ID])
			}
			if ids = append(ids, sessionIDs(rows)...); len(rows) < 2 || len(ids) > 9 {
				break
			}
		}
		equal(t, "the ids", ids, all[userID])
	}
	rows, err := f.Sessions.List(t.Context(), "usr_nobody", "", 10)
	must(t, err)
	equal(t, "the sessions of nobody", sessionIDs(rows), []string{})
}

func listFull(t *testing.T, f *fixture) {
	u, gone := f.user(t), f.user(t)
	var live []string
	for i := range 12 {
		switch in := f.signIn(t, u); i % 3 {
		case 0:
			live = append(live, in.ID)
		case 1:
			f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
		default:
			f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
			f.signIn(t, gone)
		}
	}
	f.disable(t, gone.ID)
	slices.Reverse(live)
	for _, userID := range []string{u.ID, ""} {
		rows, err := f.Sessions.List(t.Context(), userID, "", 3)
		must(t, err)
		equal(t, "the first page", sessionIDs(rows), live[:3])
		rows, err = f.Sessions.List(t.Context(), userID, live[2], 3)
		must(t, err)
		equal(t, "the second page", sessionIDs(rows), live[3:])
	}
}

func listOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		if f.listed(t, in) {
			t.Error("the session is listed")
		}
	})
}

func listNamesClients(t *testing.T, f *fixture) {
	u := f.user(t)
	mine, theirs, ended := f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, u, pairwise.ID)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: ended.Grant.ID})
	rows, err := f.Sessions.List(t.Context(), u.ID, "", 10)
	must(t, err)
	got := map[string][]string{}
	for _, row := range rows {
		got[row.Session.ID] = row.Clients
	}
	equal(t, "the clients", got, map[string][]string{mine.ID: {session.FirstParty}, theirs.ID: {partner.ID}, ended.ID: nil})
}
