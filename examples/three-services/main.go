// Command three-services runs three services that check one sign-in in three ways:
// one takes the session cookie, one takes access tokens, and one, which knows
// nothing of Coatcheck, stands behind nginx. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/coatcheck/coatcheck"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	front := make(chan error, 1)
	go func() {
		defer stop() // without it the others are of no use
		front <- nginx(ctx, site{
			recipe: "deploy/nginx/coatcheck.conf", listen: "localhost:8080", server: "127.0.0.1:8090", service: "127.0.0.1:8093",
		})
	}()
	err := serve(ctx)
	stop()
	return errors.Join(err, <-front)
}

// serve runs the three until one of them or ctx ends.
func serve(ctx context.Context) error {
	issuer := cmp.Or(os.Getenv("COATCHECK_PUBLIC_URL"), "http://localhost:8080")
	apiKey := os.Getenv("COATCHECK_API_KEY")
	forCookies, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: issuer, Audience: "notes", APIKey: apiKey})
	if err != nil {
		return err
	}
	defer forCookies.Close()
	forTokens, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: issuer, Audience: "orders", APIKey: apiKey})
	if err != nil {
		return err
	}
	defer forTokens.Close()

	stopped := make(chan error, 3)
	for address, service := range map[string]http.Handler{
		"localhost:8091": cookies(forCookies), "localhost:8092": tokens(forTokens), "127.0.0.1:8093": gateway(),
	} {
		server := &http.Server{Addr: address, Handler: service, ReadHeaderTimeout: 5 * time.Second}
		go func() { stopped <- server.ListenAndServe() }()
		defer server.Close()
	}
	log.Print("with cookies: http://localhost:8091/notes")
	log.Print("with tokens:  http://localhost:8092/orders")
	log.Print("behind nginx: http://localhost:8080/app/reports")
	select {
	case <-ctx.Done():
		return nil
	case err := <-stopped:
		return errors.Join(errors.New("one of the services has stopped"), err)
	}
}
