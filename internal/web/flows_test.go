package web_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
	"github.com/coatcheck/coatcheck/internal/web"
)

// TestFlows holds the conversations in testdata/flows against a real server, on
// both databases, and fails for whatever the server has that no flow has seen.
func TestFlows(t *testing.T) {
	paths, err := filepath.Glob("testdata/flows/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no flows: %v", err)
	}
	seen, agreed := newCoverage(), newContract(t)
	witness := func(r *http.Request, sent []byte, status int, header http.Header, body []byte) error {
		return errors.Join(seen.note(r, status, header, body), agreed.check(r, sent, status, header, body))
	}
	held := 0
	var mu sync.Mutex
	for _, database := range []string{"sqlite", "postgres"} {
		for _, path := range paths {
			name := database + "/" + strings.TrimSuffix(filepath.Base(path), ".txt")
			t.Run(name, func(t *testing.T) {
				address := ""
				if database == "postgres" {
					address = storetest.Postgres(t)
				}
				holdFlow(t, path, newStage(t, address), witness)
				mu.Lock()
				defer mu.Unlock()
				held++
			})
		}
	}
	if held == 2*len(paths) { // not when some were picked, or broke off
		seen.complete(t)
	}
}

// holdFlow carries out one flow.
func holdFlow(t *testing.T, path string, s *stage, w witness) {
	steps, err := parseFlow(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{stage: s, vars: variables{}, streams: map[string]*stream{}, secrets: map[string]bool{}, witness: w}
	s.made = func(a *app.App) { a.Store.Interfere(r.interfere) }
	for _, step := range steps {
		if err := r.perform(step); err != nil {
			t.Fatalf("%s:%d: %s: %v", path, step.line, strings.Join(step.words, " "), err)
		}
	}
	for _, stream := range r.streams {
		stream.cancel()
	}
	s.end()
	r.searchLog(t)
}

var credentialForm = regexp.MustCompile(`c(ks|kr|ka|kl|kc)_[0-9a-z]{26}[A-Za-z0-9_-]{20,}|ccs_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{20,}\.`)

// searchLog proves that no credential and no password got into the log.
func (r *run) searchLog(t *testing.T) { // V-104
	logged := r.log.String()
	if found := credentialForm.FindString(logged); found != "" && !r.prints { // where mails are printed, links are
		t.Errorf("V-104: a credential is in the log: %.12s…", found)
	}
	for secret := range r.secrets {
		if strings.Contains(logged, secret) {
			t.Errorf("V-104: the password %q is in the log", secret)
		}
	}
}

// coverage is what flows have seen of the server.
type coverage struct {
	mu       sync.Mutex
	match    *http.ServeMux
	statuses map[string]map[string]bool // by pattern
	codes    map[string]bool
}

func newCoverage() *coverage {
	c := &coverage{match: http.NewServeMux(), statuses: map[string]map[string]bool{}, codes: map[string]bool{}}
	for _, row := range web.Rows() {
		c.match.Handle(row.Pattern, http.NotFoundHandler())
		c.statuses[row.Pattern] = map[string]bool{}
	}
	return c
}

// note takes down one exchange.
func (c *coverage) note(r *http.Request, status int, header http.Header, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, pattern := c.match.Handler(r); pattern != "" {
		c.statuses[pattern][strconv.Itoa(status)] = true
	}
	if to, err := url.Parse(header.Get("Location")); err == nil && to.Query().Has("error") {
		c.codes[to.Query().Get("error")] = true
	}
	if media := header.Get("Content-Type"); media == "application/problem+json" || media == "application/json" && status >= 400 {
		var problem struct {
			Code  string `json:"code"`
			Error string `json:"error"` // as clients are told
		}
		if err := json.Unmarshal(body, &problem); err != nil {
			return err
		}
		c.codes[problem.Code+problem.Error] = true
	}
	return nil
}

// complete fails the test for what no flow has seen.
func (c *coverage) complete(t *testing.T) {
	for _, row := range web.Rows() {
		for _, status := range row.Statuses {
			if !c.statuses[row.Pattern][status] {
				t.Errorf("no flow has seen %s answer %s", row.Pattern, status)
			}
		}
	}
	codes := web.Codes()
	slices.Sort(codes)
	for _, code := range codes {
		if !c.codes[code] {
			t.Errorf("no flow has seen the code %s", code)
		}
	}
}
