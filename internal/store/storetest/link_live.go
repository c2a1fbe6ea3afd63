package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
)

func replaceOfUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	for _, kind := range []account.LinkKind{account.LinkVerify, account.LinkReset, account.LinkEmail} {
		old, theirs := f.addLink(t, linkOf(kind, u)), f.addLink(t, linkOf(kind, neighbour))
		newer := f.addLink(t, linkOf(kind, u))
		f.wantLink(t, old, false)
		f.wantLink(t, theirs, true)
		f.wantLink(t, newer, true)
	}
	for _, id := range f.links[len(f.links)-2:] { // of the kinds before, all is as it was
		if _, err := f.Links.FindLink(t.Context(), id); err != nil {
			t.Errorf("a link of another kind: %v", err)
		}
	}
}

func replaceOfAddress(t *testing.T, f *fixture) {
	var invited, began []account.Link
	for range 7 {
		invited = append(invited, f.addLink(t, draftLink(account.LinkInvite, "", "a@example.com")))
		began = append(began, f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com")))
		f.clock.Advance(time.Millisecond)
	}
	other := f.addLink(t, draftLink(account.LinkInvite, "", "b@example.com"))
	for i := range invited {
		f.wantLink(t, invited[i], i == 6)
		f.wantLink(t, began[i], i >= 2)
	}
	f.wantLink(t, other, true)
}

func decoysReplaceNone(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, kind := range allKinds {
		l := f.addLink(t, linkOf(kind, u))
		for range 8 {
			decoy := linkOf(kind, u)
			decoy.Decoy = true
			f.addLink(t, decoy)
		}
		f.wantLink(t, l, true)
	}
}

func replaceRace(t *testing.T, f *fixture) {
	u := f.user(t)
	drafts := make([]account.Link, racers)
	for i := range drafts {
		drafts[i] = linkOf(account.LinkReset, u)
	}
	allWon(t, race(racers, func(i int) error {
		_, err := f.Links.AddLink(t.Context(), drafts[i], noted(audit.ResetAsked))
		return err
	}))
	live := slices.DeleteFunc(drafts, func(l account.Link) bool {
		_, err := f.Links.FindLink(t.Context(), l.ID)
		return err != nil
	})
	equal(t, "the number of live links", len(live), 1)
}

// guessed returns the ids of what a guess may open.
func (f *fixture) guessed(t *testing.T, key string) []string {
	t.Helper()
	links, err := f.Links.GuessLinks(t.Context(), key)
	must(t, err)
	var ids []string
	for _, l := range links {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

func guessLinks(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, kind := range []account.LinkKind{account.LinkReset, account.LinkInvite} { // no code
		l := linkOf(kind, u)
		l.EmailKey = u.EmailKey
		f.addLink(t, l)
	}
	first := f.addLink(t, draftLink(account.LinkSignUp, "", u.EmailKey))
	f.addLink(t, draftLink(account.LinkSignUp, "", "a.stranger@example.com"))
	for range 3 {
		equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string{first.ID})
	}
	f.clock.Advance(time.Minute)
	second := f.addLink(t, linkOf(account.LinkVerify, u))
	for range 2 {
		equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string{first.ID, second.ID})
	}
	for range 3 {
		equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string{second.ID})
	}
	equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string(nil))
	equal(t, "what a guess may open elsewhere", f.guessed(t, "nobody@example.com"), []string(nil))
	f.wantLink(t, first, true) // by its token it is as good as ever
	third := f.addLink(t, linkOf(account.LinkVerify, u))
	equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string{third.ID})
	f.clock.Advance(account.LinkLife)
	equal(t, "what a guess may open", f.guessed(t, u.EmailKey), []string(nil))
}

func guessInTime(t *testing.T, f *fixture) {
	l := f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com"))
	f.clock.Advance(account.CodeLife - time.Second)
	equal(t, "what a guess may open", f.guessed(t, l.EmailKey), []string{l.ID})
	f.clock.Advance(time.Second)
	equal(t, "what a guess may open later", f.guessed(t, l.EmailKey), []string(nil))
	f.wantLink(t, l, true) // by its token it is as good as ever
}

func guessRace(t *testing.T, f *fixture) {
	l := f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com"))
	got := make([]int, racers)
	allWon(t, race(racers, func(i int) error {
		links, err := f.Links.GuessLinks(t.Context(), l.EmailKey)
		got[i] = len(links)
		return err
	}))
	total := 0
	for _, n := range got {
		total += n
	}
	equal(t, "how many guesses may open it", total, account.MaxGuesses)
}
