package main

import (
	"fmt"
	"net/http"

	"github.com/coatcheck/coatcheck"
)

// cookies is a service for browsers: it takes the session cookie. A browser sends
// that cookie to the issuer's own host alone, so in life this service is proxied
// under a path of that host. On localhost any port will do, since cookies ignore
// ports.
func cookies(v *coatcheck.Verifier) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /notes", v.Require(http.HandlerFunc(notes)))
	return mux
}

func notes(w http.ResponseWriter, r *http.Request) {
	caller := coatcheck.CallerFrom(r.Context())
	_, _ = fmt.Fprintf(w, "notes of %s\n", caller.UserID)
}
