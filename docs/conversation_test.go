package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// Every conversation in the docs is held with a server at https://auth.example.com,
// one server for each page. In a request, "ses_…" stands for the newest credential or
// id that begins so; in an answer "…" stands for anything.
func TestConversations(t *testing.T) {
	for _, page := range ours {
		t.Run(filepath.Base(page), func(t *testing.T) {
			var s *stage
			for _, b := range blocksOf(t, page) {
				if b.tag != "http" && b.tag != "stage" {
					continue
				}
				if s == nil {
					s = newStage(t, "optional")
				}
				if b.tag == "stage" {
					s = s.direct(t, b)
					continue
				}
				for _, e := range exchangesOf(t, b) {
					s.hold(t, e)
				}
			}
		})
	}
}

// An exchange is one request and what must come back.
type exchange struct {
	at      string // page:line
	method  string
	path    string
	headers []string
	body    string
	status  int
	answers []string // headers
	want    string   // the body
}

var (
	startOfRequest = regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) (/\S*)$`)
	startOfAnswer  = regexp.MustCompile(`^(\d{3})( [\w -]+)?$`)
	headerLine     = regexp.MustCompile(`^[A-Z][A-Za-z-]*: `)
)

func exchangesOf(t *testing.T, b block) []exchange {
	var all []exchange
	answering := false
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		if m := startOfRequest.FindStringSubmatch(line); m != nil {
			all, answering = append(all, exchange{at: b.page + ":" + strconv.Itoa(b.line), method: m[1], path: m[2]}), false
			continue
		}
		if len(all) == 0 {
			t.Fatalf("%s:%d: begins with no request", b.page, b.line)
		}
		e := &all[len(all)-1]
		switch m := startOfAnswer.FindStringSubmatch(line); {
		case m != nil && !answering:
			answering = true
			e.status, _ = strconv.Atoi(m[1]) // three digits
		case answering && strings.TrimSpace(e.want) == "" && headerLine.MatchString(line):
			e.answers = append(e.answers, line)
		case answering:
			e.want += line + "\n"
		case e.body == "" && headerLine.MatchString(line):
			e.headers = append(e.headers, line)
		default:
			e.body += line
		}
	}
	return all
}

// A stage is a server for one page, on a clock that the page moves.
type stage struct {
	app    *app.App
	clock  *clock
	inbox  *inbox
	newest map[string]string // what was seen last, by its prefix
}

// An inbox is where all mails of a stage arrive.
type inbox struct {
	mu   sync.Mutex
	text strings.Builder
}

func (i *inbox) Connect(context.Context) (mail.Line, error) { return i, nil }

func (i *inbox) Send(w mail.Written) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.text.WriteString(w.Text + "\n")
	return nil
}

func (i *inbox) Close() {}

// read returns the mails that arrived since it was called last.
func (i *inbox) read() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer i.text.Reset()
	return i.text.String()
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newStage(t *testing.T, verifyEmail string) *stage {
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: []string{
		"COATCHECK_PUBLIC_URL=https://auth.example.com", "COATCHECK_VERIFY_EMAIL=" + verifyEmail,
		"COATCHECK_MAIL_HOST=mail.example.com", "COATCHECK_MAIL_FROM=coats@example.com",
		"COATCHECK_DATABASE=sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"),

		"COATCHECK_TOKEN_AUDIENCES=orders, billing", "COATCHECK_TOKEN_SCOPES=read, write",
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{clock: &clock{now: time.Now().Truncate(time.Second)}, inbox: &inbox{}, newest: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.New(ctx, app.Options{
		Config: loaded.Config, Now: s.clock.read, Logger: slog.New(slog.DiscardHandler),
		Hash: &account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}, Transport: s.inbox,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() {
		a.Run(ctx)
		close(ran)
	}()
	t.Cleanup(func() {
		cancel()
		<-ran
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	s.app = a
	_, key, err := a.Accounts.AddAPIKey(ctx, "docs", account.Scopes, "cli", auditFrom)
	if err != nil {
		t.Fatal(err)
	}
	s.see(key)
	return s
}

// direct follows a directive: "wait 10m", or "verify_email required" for another
// server with that setting.
func (s *stage) direct(t *testing.T, b block) *stage {
	word, text, _ := strings.Cut(b.text, " ")
	if word == "verify_email" {
		return newStage(t, text)
	}
	d, err := time.ParseDuration(text)
	if word != "wait" || err != nil {
		t.Fatalf("%s:%d: no directive: %s", b.page, b.line, b.text)
	}
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.now = s.clock.now.Add(d)
	return s
}

func (s *stage) hold(t *testing.T, e exchange) {
	t.Helper()
	r := httptest.NewRequest(e.method, "https://auth.example.com"+s.expand(t, e, e.path), strings.NewReader(s.expand(t, e, e.body)))
	if strings.HasPrefix(e.body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range e.headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, s.expand(t, e, value))
	}
	if e.path == "/v1/revocations" { // which goes on until the reader leaves
		ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer leave()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	s.app.Handler().ServeHTTP(w, r)
	eventually(t, "the mails arrive", func() bool {
		s.app.Outbox.Wake()
		counts, err := s.app.Store.Counts(t.Context())
		return err == nil && counts.Waiting == 0
	})
	s.see(s.inbox.read())
	res := w.Result()
	body, _ := io.ReadAll(res.Body) // of a recorder
	s.see(fmt.Sprint(res.Header) + string(body))
	if res.StatusCode != e.status {
		t.Fatalf("%s: %s %s: %d %s, want %d", e.at, e.method, e.path, res.StatusCode, body, e.status)
	}
	for _, line := range e.answers {
		name, want, _ := strings.Cut(line, ": ")
		if !anyMatch(want, res.Header.Values(name)) {
			t.Errorf("%s: %s %s: %s is %q, want %s", e.at, e.method, e.path, name, res.Header.Values(name), want)
		}
	}
	if got := compact(string(body)); !matches(compact(e.want), got) {
		t.Errorf("%s: %s %s answers\n%s\nwant\n%s", e.at, e.method, e.path, got, compact(e.want))
	}
}

// What a page may call by the first characters of its value.
var named = regexp.MustCompile(`\b(eyJ|(?:cks|ckr|cka|ckl|ckc|ccs|cli|ses|usr|grt|key|api)_|coatcheck_signup=)[A-Za-z0-9_.-]*`)

// see remembers the credentials and ids in an answer.
func (s *stage) see(text string) {
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		if len(m[0]) > len(m[1]) {
			s.newest[m[1]] = m[0]
		}
	}
}

var abbreviated = regexp.MustCompile(`(eyJ|(?:cks|ckr|cka|ckl|ckc|ccs|cli|ses|usr|grt|key|api)_|coatcheck_signup=)…`)

// expand puts the newest value in the place of each abbreviation.
func (s *stage) expand(t *testing.T, e exchange, text string) string {
	return abbreviated.ReplaceAllStringFunc(text, func(short string) string {
		value, known := s.newest[strings.TrimSuffix(short, "…")]
		if !known {
			t.Fatalf("%s: nothing seen yet begins with %s", e.at, short)
		}
		return value
	})
}

func anyMatch(pattern string, values []string) bool {
	for _, value := range values {
		if matches(pattern, value) {
			return true
		}
	}
	return false
}

// matches reports whether text is as the pattern says, in which "…" is anything.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString(text)
}

// compact removes the space outside of strings from JSON, and around text.
func compact(text string) string {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return text
	}
	var out bytes.Buffer
	quoted, escaped := false, false
	for _, r := range text {
		if !quoted && (r == ' ' || r == '\t' || r == '\n') {
			continue
		}
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		out.WriteRune(r)
	}
	return out.String()
}
