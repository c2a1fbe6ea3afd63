package web

import (
	"embed"
	"net/http"
	"path"
	"strconv"
)

// docsFiles are the page to try the API at: a page, a script and a style sheet,
// made from nothing but /openapi.json.
//
//go:embed static/docs
var docsFiles embed.FS

// docsPolicy lets that page run its own script and call this server, and no more.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var docsTypes = map[string]string{
	"index.html": "text/html; charset=utf-8", "docs.js": "text/javascript; charset=utf-8", "docs.css": "text/css; charset=utf-8",
}

// getDocs answers with the page.
func (s *Server) getDocs(x *exchange) error { return docsFile(x, "index.html") }

// getDocsFile answers with one of its files.
func (s *Server) getDocsFile(x *exchange) error { return docsFile(x, x.PathValue("file")) }

func docsFile(x *exchange, name string) error {
	media, known := docsTypes[name]
	if !known {
		return errNotFound
	}
	body, err := docsFiles.ReadFile(path.Join("static/docs", name))
	if err != nil {
		return err
	}
	h := x.Header()
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write(body) // the client has gone: nobody is left to tell
	return nil
}
