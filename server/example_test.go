package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/server"
)

// A program that brings its own authentication server along, and stops in order:
// streams move, requests are finished, the database is closed.
func Example() {
	dir, err := os.MkdirTemp("", "auth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	auth, err := server.New(server.Config{
		PublicURL: "http://localhost:8080",
		Database:  "sqlite:" + filepath.Join(dir, "auth.db"),
		Settings:  map[string]string{"session.idle": "2d", "token.audiences": "orders"},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	web := httptest.NewUnstartedServer(auth) // in a program: &http.Server{Handler: auth}
	web.Config.RegisterOnShutdown(auth.Stop)
	web.Start()
	answer, err := http.Get(web.URL + "/readyz")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	fmt.Println("ready:", answer.Status)

	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("stopped:", web.Config.Shutdown(stopping))
	fmt.Println("closed:", auth.Close(stopping))
	// Output:
	// ready: 200 OK
	// stopped: <nil>
	// closed: <nil>
}

// A program with pages of its own beside the server's, which it dresses in its own
// name and words, and with mail.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files := fstest.MapFS{"en.toml": {Data: []byte("[sign_in]\ntitle = \"Welcome back\"\n")}} // in a program: an embed.FS

	auth, err := server.New(server.Config{
		PublicURL: "https://shop.example.com",
		Database:  "sqlite:" + filepath.Join(dir, "auth.db"),
		Templates: files,
		Settings: map[string]string{
			"brand.name": "The Shop",
			"proxies":    "127.0.0.1/32",
			"mail.host":  "smtp.example.com",
			"mail.from":  "The Shop <no-reply@example.com>",
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := auth.Verifier(coatcheck.Config{Audience: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}

	mux := http.NewServeMux()
	mux.Handle("/", auth)
	mux.Handle("GET /{$}", http.HandlerFunc(front))
	mux.Handle("/orders/", v.Require(http.HandlerFunc(orders)))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/sign-in", nil))
	fmt.Println("in its own words:", strings.Contains(w.Body.String(), "Welcome back"))
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", nil))
	fmt.Println("its own page:", w.Body)

	v.Close()
	fmt.Println("closed:", auth.Close(context.Background()))
	// Output:
	// in its own words: true
	// its own page: tea, coffee
	// closed: <nil>
}

func front(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tea, coffee") }

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "orders of %s", coatcheck.CallerFrom(r.Context()).UserID)
}
