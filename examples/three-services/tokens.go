package main

import (
	"fmt"
	"net/http"

	"github.com/coatcheck/coatcheck"
)

// tokens is an API: it takes access tokens for the audience "orders" with the
// scope "read". A session cookie carries no scopes, so it does not suffice here.
func tokens(v *coatcheck.Verifier) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /orders", v.Require(http.HandlerFunc(orders), coatcheck.Scope("read")))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	caller := coatcheck.CallerFrom(r.Context())
	_, _ = fmt.Fprintf(w, "orders of %s\n", caller.UserID)
}
