package session

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
)

// Whatever has ended or changed something, nothing is stamped as if it were from before.
func TestNothingIsStampedBeforeWhatHasEnded(t *testing.T) { // I-1
	now := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		st    Standing
		ended bool
	}{
		"user ended":      {Standing{User: account.User{OverBefore: 1005}}, true},
		"client ended":    {Standing{Client: ClientTerms{OverBefore: 1005}}, true},
		"everyone ended":  {Standing{OverBefore: 1005}, true},
		"user changed":    {Standing{User: account.User{ChangedBefore: 1005}}, false},
		"session changed": {Standing{Session: Session{ChangedBefore: 1005}}, false},
		"client changed":  {Standing{Client: ClientTerms{ChangedBefore: 1005}}, false},
	} {
		st := c.st
		st.Now = now
		if st.stamp() != 1006 || (st.ended() == 1006) != c.ended {
			t.Errorf("%s up to 1005: stamped %d, ended up to %d", name, st.stamp(), st.ended())
		}
		st.Now = now.Add(time.Hour)
		if st.stamp() != st.Now.Unix() {
			t.Errorf("%s long ago: stamped %d", name, st.stamp())
		}
	}
}
