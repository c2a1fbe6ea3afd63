package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// findPrinted captures the id of the newest printed mail to an address.
func (r *run) findPrinted(words []string) error {
	if len(words) != 3 || words[1] != "->" {
		return errors.New("printed takes ADDRESS -> $name")
	}
	if err := r.settled(); err != nil {
		return err
	}
	mails := r.app.Printed()
	i := slices.IndexFunc(mails, func(w mail.Written) bool { return w.To == words[0] })
	if i < 0 {
		return fmt.Errorf("none of %d printed mails is to %s", len(mails), words[0])
	}
	r.vars[words[2]] = mails[i].ID
	return nil
}

// Printed mails open anybody's account, so nobody sees them from another machine, by
// whatever name it asks for this one.
func TestPrintedMailsAreForThisMachine(t *testing.T) {
	s := newStage(t, "")
	s.prints = true
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]int{
		"127.0.0.1:4711": http.StatusOK, "[::1]:4711": http.StatusOK, "[::ffff:127.0.0.1]:4711": http.StatusOK,
		"192.168.1.7:4711": http.StatusNotFound, "[fe80::1]:4711": http.StatusNotFound, "203.0.113.9:80": http.StatusNotFound,
	} {
		for _, path := range []string{"/dev/mail", "/dev/mail/none"} {
			r := httptest.NewRequest(http.MethodGet, s.origin.String()+path, nil)
			r.RemoteAddr = netip.MustParseAddrPort(from).String()
			w := httptest.NewRecorder()
			s.app.Handler().ServeHTTP(w, r)
			if expected := want; w.Code != expected && !(strings.HasSuffix(path, "none") && w.Code == http.StatusNotFound) {
				t.Errorf("%s from %s is answered %d, want %d", path, from, w.Code, expected)
			}
		}
	}
}
