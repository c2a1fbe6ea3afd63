package web

import (
	"net/http"
	"strings"
	"testing"
)

// Which version an If-Match names: nil for none, and never one that was not given out.
func TestVersionIn(t *testing.T) {
	none, wrong := int64(-10), int64(-11)
	for _, c := range []struct {
		header []string
		want   int64
	}{
		{nil, none},
		{[]string{`"0"`}, 0},
		{[]string{` "17" `}, 17},
		{[]string{`"9223372036854775807"`}, 1<<63 - 1},
		{[]string{"*"}, anyVersion},
		{[]string{`W/"17"`}, noVersion},
		{[]string{`"017"`}, noVersion},
		{[]string{`"-1"`}, noVersion},
		{[]string{`"+1"`}, noVersion},
		{[]string{`"9223372036854775808"`}, noVersion},
		{[]string{`"x"`}, noVersion},
		{[]string{`""`}, noVersion},
		{[]string{`17`}, wrong},
		{[]string{`"17`}, wrong},
		{[]string{`17"`}, wrong},
		{[]string{`"1", "2"`}, wrong},
		{[]string{`"1"`, `"2"`}, wrong},
		{[]string{`*`, `*`}, wrong},
		{[]string{``}, wrong},
		{[]string{`w/"17"`}, wrong},
	} {
		at, err := versionIn(&http.Request{Header: http.Header{"If-Match": c.header}})
		got := none
		switch {
		case err != nil:
			got = wrong
		case at != nil:
			got = *at
		}
		if got != c.want {
			t.Errorf("If-Match %q is %d, want %d", c.header, got, c.want)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
		good   bool
	}{
		{nil, "", true},
		{[]string{"0123456789abcdefABCDEF"}, "0123456789abcdefABCDEF", true},
		{[]string{"short"}, "short", true}, // counts for nothing: see session.RefreshRequest
		{[]string{"8e03978e-40d5-43e8-bc93-6894a57f9324"}, "8e03978e-40d5-43e8-bc93-6894a57f9324", true},
		{[]string{strings.Repeat("a", 255)}, strings.Repeat("a", 255), true},
		{[]string{strings.Repeat("a", 256)}, "", false},
		{[]string{"0123456789abcdef/0123456789"}, "", false},
		{[]string{"0123456789abcdef 0123456789"}, "", false},
		{[]string{"0123456789abcdef+0123456789=="}, "", false},
		{[]string{"0123456789abcdef\u00e90123456789"}, "", false},
		{[]string{"0123456789abcdef012345", "0123456789abcdef012345"}, "", false},
	} {
		got, err := idempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": c.values}})
		if got != c.want || (err == nil) != c.good {
			t.Errorf("%.40q is %.40q, %v", c.values, got, err)
		}
	}
}
