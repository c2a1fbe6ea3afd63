package main

import (
	"fmt"
	"net/http"
)

// gateway is a service that knows nothing of Coatcheck: nginx, in front of it, asks
// who is calling and says so in a header. So it must be reachable through nginx alone.
func gateway() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/reports", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "reports of %s\n", r.Header.Get("X-Auth-User")) // #nosec G705 -- nginx sets it, to an id
	})
	return mux
}
