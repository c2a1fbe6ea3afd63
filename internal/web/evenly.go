package web

import (
	"context"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
)

// evenStep is what the time of an answer is rounded up to where it might tell who has an
// account: a hundred times what the one way takes longer than the other, and no wait
// that a person notices.
const evenStep = 50 * time.Millisecond

// evenly does the work and returns a whole number of evenSteps after it began, so that
// who measures the answer learns nothing of what was found. It waits for nobody who has
// gone.
func evenly(ctx context.Context, work func() error) error {
	began := time.Now()
	err := work()
	timer := time.NewTimer(evenStep - time.Since(began)%evenStep)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return err
}

// forgot mails a link to a new password if there is such an account. The store does a
// little less where there is none, since there is no mail to keep.
func (s *Server) forgot(x *exchange, email string) error {
	return evenly(x.Context(), func() error { return s.Accounts.Forgot(x.Context(), email, x.from()) })
}

// verify spends what came by mail. The answer to a wrong code must not tell whether one
// was sent.
func (s *Server) verify(x *exchange, v account.Verification) (verified account.Verified, err error) {
	if v.Token != "" {
		return s.Accounts.Verify(x.Context(), v, x.from())
	}
	err = evenly(x.Context(), func() (err error) {
		verified, err = s.Accounts.Verify(x.Context(), v, x.from())
		return err
	})
	return verified, err
}
