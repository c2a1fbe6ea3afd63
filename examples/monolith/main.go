// Command monolith is one program: pages of its own, and the whole of Coatcheck beside them.
package main

import (
	"embed"
	"html/template"
	"log"
	"net/http"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/server"
)

//go:embed *.tmpl signed_out.html theme.css
var files embed.FS

var pages = template.Must(template.ParseFS(files, "*.tmpl"))

type page string // the name of a template, which is shown who is calling

func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = pages.ExecuteTemplate(w, string(p), coatcheck.CallerFrom(r.Context())) // else the browser has gone
}

func main() {
	auth, err := server.New(server.Config{PublicURL: "http://localhost:8080", Database: "sqlite:monolith.db", Templates: files})
	if err != nil {
		log.Fatal(err)
	}
	v, err := auth.Verifier(coatcheck.Config{Audience: "monolith"})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", auth) // /sign-in, /account, the API: all that is not below
	http.Handle("GET /{$}", page("home.tmpl"))
	http.Handle("GET /hello", v.Require(page("hello.tmpl")))
	log.Fatal((&http.Server{Addr: "localhost:8080", ReadHeaderTimeout: time.Minute}).ListenAndServe())
}
