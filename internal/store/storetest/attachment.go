package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// attach puts a document in the place of whatever is there, and returns its version.
func (f *fixture) attach(t *testing.T, sessionID, document string) int64 {
	t.Helper()
	_, version, err := f.Attachments.Attachment(t.Context(), sessionID)
	must(t, err)
	next, err := f.Attachments.SwapAttachment(t.Context(), sessionID, []byte(document), version)
	must(t, err)
	if next <= version {
		t.Errorf("the version went from %d to %d", version, next)
	}
	return next
}

// wantDocument fails unless this is the session's document; version 0 means none.
func (f *fixture) wantDocument(t *testing.T, sessionID, document string, version int64) {
	t.Helper()
	got, at, err := f.Attachments.Attachment(t.Context(), sessionID)
	must(t, err)
	if string(got) != document || at != version || version == 0 && got != nil {
		t.Errorf("the document is %q at version %d, want %q at %d", got, at, document, version)
	}
}

func attachmentRoundTrip(t *testing.T, f *fixture) {
	u := f.user(t)
	in, other := f.signIn(t, u), f.signIn(t, u)
	f.wantDocument(t, in.ID, "", 0)
	for _, document := range []string{
		`{}`, `{"a": 1.0, "a":2, "li":"李 e\u0301", "n":null}`, "{\"raw\":\"\x00\xff\\u0000\"}", `"` + strings.Repeat("x", session.MaxAttachment-2) + `"`, `{}`, ``,
	} {
		version := f.attach(t, in.ID, document)
		f.wantDocument(t, in.ID, document, version)
	}
	f.wantDocument(t, other.ID, "", 0)
	f.wantDocument(t, credential.NewID(credential.Session), "", 0)
	f.wantLog(t, 0)
}

func attachmentGoes(t *testing.T, f *fixture) {
	first, second := f.user(t), f.user(t)
	swept, deleted, stays := f.signIn(t, first), f.signIn(t, second), f.signIn(t, first)
	f.attach(t, swept.ID, `{}`)
	f.attach(t, deleted.ID, `{}`)
	version := f.attach(t, stays.ID, `{"stays":true}`)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: swept.ID})
	must(t, f.Users.DeleteUser(t.Context(), second.ID, noted(audit.UserDeleted)))
	f.wantDocument(t, deleted.ID, "", 0)
	f.clock.Advance(time.Minute)
	equal(t, "the number swept", f.sweep(t, 0, 10), 1)
	f.wantDocument(t, swept.ID, "", 0)
	f.wantDocument(t, stays.ID, `{"stays":true}`, version)
}

func swapAttachmentLost(t *testing.T, f *fixture) {
	u := f.user(t)
	in, fresh := f.signIn(t, u), f.signIn(t, u)
	f.attach(t, in.ID, `{"first":true}`)
	version := f.attach(t, in.ID, `{"second":true}`)
	for _, c := range []struct {
		id string
		at int64
	}{{in.ID, 0}, {in.ID, version - 1}, {in.ID, version + 1}, {in.ID, -1}, {fresh.ID, 1}, {fresh.ID, -1}} {
		f.unchanged(t, "a lost swap", func() {
			_, err := f.Attachments.SwapAttachment(t.Context(), c.id, []byte(`{"lost":true}`), c.at)
			wantErr(t, fmt.Sprint("SwapAttachment at version ", c.at), err, session.ErrLost)
		})
	}
}

func swapAttachmentRace(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	for range 3 { // the first is a document where there was none
		_, version, err := f.Attachments.Attachment(t.Context(), in.ID)
		must(t, err)
		var next [racers]int64
		errs := race(racers, func(i int) (err error) {
			next[i], err = f.Attachments.SwapAttachment(t.Context(), in.ID, fmt.Appendf(nil, `{"racer":%d}`, i), version)
			return err
		})
		oneWinner(t, errs, session.ErrLost)
		for i, err := range errs {
			if err == nil {
				f.wantDocument(t, in.ID, fmt.Sprintf(`{"racer":%d}`, i), next[i])
			}
		}
	}
}

func swapAttachmentOver(t *testing.T, f *fixture) {
	missing := credential.NewID(credential.Session)
	_, err := f.Attachments.SwapAttachment(t.Context(), missing, []byte(`{}`), 0)
	wantErr(t, "SwapAttachment of no session", err, session.ErrNone)
	f.wantDocument(t, missing, "", 0)
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		f.unchanged(t, "a swap", func() {
			for _, version := range []int64{0, 1} {
				_, err := f.Attachments.SwapAttachment(t.Context(), in.ID, []byte(`{}`), version)
				wantErr(t, fmt.Sprint("SwapAttachment at version ", version), err, session.ErrNone)
			}
		})
	})
}
