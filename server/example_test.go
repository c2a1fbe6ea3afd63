package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

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
