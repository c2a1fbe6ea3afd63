package web

import (
	"net/http"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
)

// The program that the server is part of may ask and listen without a key. It may not
// administer, and a request that no such program has marked may do nothing.
func TestInProcess(t *testing.T) {
	for _, c := range []struct {
		scope  string
		marked bool
		want   bool
	}{
		{account.ScopeIntrospect, true, true},
		{account.ScopeRevocations, true, true},
		{account.ScopeAdmin, true, false},
		{account.ScopeIntrospect, false, false},
		{account.ScopeRevocations, false, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.marked {
			r = r.WithContext(InProcess(r.Context()))
		}
		key, ok := ownKey(&exchange{Request: r, route: &route{who: apiKey, scope: c.scope}})
		if ok != c.want || key.ID != "" || ok && (len(key.Scopes) != 1 || key.Scopes[0] != c.scope) {
			t.Errorf("%s, marked %v: %+v, %v", c.scope, c.marked, key, ok)
		}
	}
}
