package sqlstore

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// Who sends mails is told of each commit that posted some, when it can read them, and
// of none that did not.
func TestWhoSendsIsToldAfterTheCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		db := open(t, Options{URL: url, Now: time.Now})
		var told, seen atomic.Int64
		db.Posted(func() {
			told.Add(1)
			c, err := db.Counts(t.Context())
			if err != nil {
				t.Error(err)
			}
			seen.Store(int64(c.Waiting))
		})
		m := mail.New(mail.PasswordChanged, "ada@example.com", "")
		must(t, db.Post(t.Context(), m, mail.New(mail.PasswordChanged, "bob@example.com", "")))
		if told.Load() != 1 || seen.Load() != 2 {
			t.Errorf("told %d times, with %d to be seen", told.Load(), seen.Load())
		}
		if err := db.Post(t.Context(), m); err == nil || told.Load() != 1 {
			t.Errorf("told %d times after a post that failed with %v", told.Load(), err)
		}
		must(t, db.Post(t.Context()))
		if told.Load() != 1 {
			t.Error("told of nothing")
		}
	})
}

// What a step posts is not there unless the step is: a bare one is refused, because a
// mail needs the time of the store.
func TestABareStepPostsNothing(t *testing.T) {
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	err := db.bare(t.Context(), "bare", func(s *step) error {
		s.post(mail.New(mail.PasswordChanged, "ada@example.com", ""))
		return nil
	})
	c, failed := db.Counts(t.Context())
	must(t, failed)
	if err == nil || c.Waiting != 0 {
		t.Errorf("a bare step posted %d mails: %v", c.Waiting, err)
	}
}
