// Command hello is the smallest service that knows who is calling: it greets
// whoever is signed in, and refuses as soon as their session has ended.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/coatcheck/coatcheck"
)

func main() {
	if err := serve(cmp.Or(os.Getenv("LISTEN"), "localhost:8081")); err != nil {
		log.Fatal(err)
	}
}

func serve(address string) error {
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer:   cmp.Or(os.Getenv("COATCHECK_PUBLIC_URL"), "http://localhost:8080"),
		Audience: "hello",
		APIKey:   os.Getenv("COATCHECK_API_KEY"),
	})
	if err != nil {
		return err
	}
	defer v.Close()
	if err := v.Ready(context.Background()); err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: v.Require(http.HandlerFunc(hello)), ReadHeaderTimeout: 5 * time.Second}
	log.Printf("hello is at http://%s", address) // #nosec G706 -- whoever starts it says the address
	return server.ListenAndServe()
}

func hello(w http.ResponseWriter, r *http.Request) {
	caller := coatcheck.CallerFrom(r.Context())
	w.Header().Set("Refresh", "1") // the browser asks again each second, so one can watch
	_, _ = fmt.Fprintf(w, "Hello %v!\n\nYour session is %s.\n", caller.Claims["email"], caller.SessionID)
}
