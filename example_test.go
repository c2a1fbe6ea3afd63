package coatcheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/coatcheck/coatcheck"
)

// A whole service: it knows who is calling, and refuses at once when their
// session ends.
func Example() {
	issuer := startIssuer() // a running Coatcheck, on http://localhost
	defer issuer.Stop()

	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer:   issuer.URL,
		Audience: "orders",
		APIKey:   issuer.APIKey,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	if err := v.Ready(context.Background()); err != nil {
		log.Fatal(err)
	}

	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := coatcheck.CallerFrom(r.Context())
		fmt.Fprintf(w, "orders of %s", caller.UserID)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", v.Require(orders))
	service := httptest.NewServer(mux)
	defer service.Close()

	token := issuer.Token("usr_ada", "ses_1")
	fmt.Println(get(service.URL+"/orders", ""))
	fmt.Println(get(service.URL+"/orders", token))
	issuer.End("ses_1")
	fmt.Println(untilRefused(service.URL+"/orders", token))
	// Output:
	// 401 no_credential
	// 200 orders of usr_ada
	// 401 session_ended
}

// serve is what the example looks like in a program of its own.
func serve() error {
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer:   "https://auth.example.com",
		Audience: "orders",
		APIKey:   os.Getenv("COATCHECK_API_KEY"),
	})
	if err != nil {
		return err
	}
	defer v.Close()

	http.Handle("/orders", v.Require(http.HandlerFunc(orders)))
	return http.ListenAndServe("localhost:8081", nil)
}

func orders(w http.ResponseWriter, r *http.Request) {
	caller := coatcheck.CallerFrom(r.Context())
	fmt.Fprintf(w, "orders of %s", caller.UserID)
}

var _ = serve

func ExampleVerifier_Ready() {
	issuer := startIssuer()
	defer issuer.Stop()
	v := newVerifier(issuer)
	defer v.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := v.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready:", v.Staleness() < 10*time.Second)
	// Output: ready: true
}

func ExampleVerifier_Require() {
	issuer := startIssuer()
	defer issuer.Stop()
	v := newVerifier(issuer)
	defer v.Close()
	h := http.HandlerFunc(orders)

	mux := http.NewServeMux()
	mux.Handle("GET /orders", v.Require(h, coatcheck.Scope("read")))
	mux.Handle("POST /refunds", v.Require(h, coatcheck.Scope("refunds")))
	mux.Handle("POST /email", v.Require(h, coatcheck.MaxAge(5*time.Minute)))
	mux.Handle("POST /payouts", v.Require(h, coatcheck.Method("otp")))

	token := issuer.Token("usr_ada", "ses_1") // by password, a minute ago, for read and write
	for _, pattern := range []string{"GET /orders", "POST /refunds", "POST /email", "POST /payouts"} {
		fmt.Println(pattern, call(mux, pattern, token))
	}
	// Output:
	// GET /orders 200
	// POST /refunds 403
	// POST /email 200
	// POST /payouts 401
}

func ExampleVerifier_Verify() {
	issuer := startIssuer()
	defer issuer.Stop()
	v := newVerifier(issuer)
	defer v.Close()

	// Where there is no http.Handler: a message of a queue, a call of gRPC.
	check := func(ctx context.Context, token string) string {
		caller, err := v.Verify(ctx, token)
		switch {
		case err == nil:
			return "hello " + caller.UserID
		case errors.Is(err, coatcheck.ErrExpired):
			return "renew the token and come again"
		case errors.Is(err, coatcheck.ErrRevoked):
			return "sign in again"
		case errors.Is(err, coatcheck.ErrStale):
			return "try again in a moment"
		default:
			return "no"
		}
	}
	fmt.Println(check(context.Background(), issuer.Token("usr_ada", "ses_1")))
	fmt.Println(check(context.Background(), "garbage"))
	// Output:
	// hello usr_ada
	// no
}

func ExampleCaller_Done() {
	issuer := startIssuer()
	defer issuer.Stop()
	v := newVerifier(issuer)
	defer v.Close()

	prices := make(chan string, 1)
	stream := func(w http.ResponseWriter, r *http.Request) {
		caller := coatcheck.CallerFrom(r.Context())
		for {
			select {
			case price := <-prices:
				fmt.Fprintln(w, price)
				issuer.End(caller.SessionID) // elsewhere, somebody ends the session
			case <-caller.Done():
				fmt.Fprintln(w, "bye")
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	prices <- "17.50"
	service := httptest.NewServer(v.Require(http.HandlerFunc(stream)))
	defer service.Close()
	fmt.Println(get(service.URL, issuer.Token("usr_ada", "ses_1")))
	// Output:
	// 200 17.50
	// bye
}

// fileStore keeps what an offline verifier must not forget in one file.
type fileStore struct{ path string }

func (f fileStore) Load(context.Context) ([]byte, error) {
	return os.ReadFile(f.path)
}

func (f fileStore) Save(_ context.Context, state []byte) error {
	if err := os.WriteFile(f.path+".new", state, 0o600); err != nil {
		return err
	}
	return os.Rename(f.path+".new", f.path)
}

func ExampleOfflineStore() {
	issuer := startIssuer()
	dir, err := os.MkdirTemp("", "coatcheck")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	statePath := filepath.Join(dir, "coatcheck.state")

	start := func() *coatcheck.Verifier {
		v, err := coatcheck.NewVerifier(coatcheck.Config{
			Issuer:       issuer.URL,
			Audience:     "orders",
			APIKey:       issuer.APIKey,
			WhenStale:    coatcheck.Offline,
			OfflineStore: fileStore{path: statePath},
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := v.Ready(context.Background()); err != nil {
			log.Fatal(err)
		}
		return v
	}
	token := issuer.Token("usr_ada", "ses_1")
	start().Close()
	issuer.Stop() // the van has left the depot, and the device restarts

	v := start()
	defer v.Close()
	caller, err := v.Verify(context.Background(), token)
	fmt.Println(caller.UserID, err)
	// Output: usr_ada <nil>
}

// What follows only helps the examples along.

// An issuer stands in for a running server, so that the examples need none.
type issuer struct {
	*coatcheck.StandIn
	APIKey string
}

func (i issuer) Token(user, session string) string { return i.StandIn.Token(user, session) }

func startIssuer() issuer {
	return issuer{coatcheck.NewStandIn(time.Now), "cka_stand_in_key"}
}

func newVerifier(i issuer) *coatcheck.Verifier {
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer:         i.URL,
		Audience:       "orders",
		APIKey:         i.APIKey,
		TrustedOrigins: []string{"https://shop.example"},
	})
	if err == nil {
		err = v.Ready(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// get returns the status of an answer and its text, or its code if it is a
// problem.
func get(url, token string) string {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(text))
	}
	var problem struct{ Code string }
	_ = json.NewDecoder(res.Body).Decode(&problem)
	return fmt.Sprint(res.StatusCode, " ", problem.Code)
}

// untilRefused asks again and again for as long as the answer is good.
func untilRefused(url, token string) string {
	for {
		if answer := get(url, token); answer[:3] != "200" {
			return answer
		}
	}
}

func call(h http.Handler, pattern, token string) int {
	var method, path string
	_, _ = fmt.Sscan(pattern, &method, &path)
	r := httptest.NewRequest(method, "http://orders.example"+path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
