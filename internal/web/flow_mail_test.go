package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// A letter is a mail as its reader finds it.
type letter struct {
	Kind     string `json:"kind"`
	To       string `json:"to"`
	Language string `json:"language"`
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	HTML     string `json:"html"`
	Link     string `json:"link,omitempty"`  // what is to be opened
	Token    string `json:"token,omitempty"` // of the link
	Code     string `json:"code,omitempty"`
}

var (
	linkForm = regexp.MustCompile(`https?://\S+[?](?:token|invitation)=(ckl_[A-Za-z0-9_-]+)`)
	codeForm = regexp.MustCompile(`(?m)^\s*([0-9]{3} ?[0-9]{3})\s*$`)
)

func readLetter(w mail.Written) letter {
	l := letter{Kind: string(w.Kind), To: w.To, Language: w.Language, Subject: w.Subject, Text: w.Text, HTML: w.HTML}
	if found := linkForm.FindStringSubmatch(w.Text); found != nil {
		l.Link, l.Token = found[0], found[1]
	}
	if found := codeForm.FindStringSubmatch(w.Text); found != nil {
		l.Code = strings.ReplaceAll(found[1], " ", "")
	}
	return l
}

// A postbox is where the mails of a stage arrive.
type postbox struct {
	mu      sync.Mutex
	arrived []letter // oldest first, until somebody takes them
}

func (p *postbox) Connect(context.Context) (mail.Line, error) { return p, nil }

func (p *postbox) Send(w mail.Written) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived = append(p.arrived, readLetter(w))
	return nil
}

func (p *postbox) Close() {}

// take returns the mails that a test has not taken, of those that match.
func (p *postbox) take(most int, matches func(letter) bool) []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []letter
	p.arrived = slices.DeleteFunc(p.arrived, func(l letter) bool {
		if len(taken) == most || !matches(l) {
			return false
		}
		taken = append(taken, l)
		return true
	})
	return taken
}

// mailTimeout is how long what is in the outbox may take to arrive.
const mailTimeout = 10 * time.Second

// settled waits until everything that was written down has arrived.
func (s *stage) settled() error {
	ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		counts, err := s.app.Store.Counts(ctx)
		if err != nil || counts.Waiting == 0 {
			return err
		}
		s.app.Outbox.Wake()
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d mails have not left after %v: %s", counts.Waiting, mailTimeout, counts.Failure)
		case <-tick.C:
		}
	}
}

// mails returns all mails that nobody has taken yet, oldest first.
func (s *stage) mails(t testing.TB) []letter {
	t.Helper()
	if err := s.settled(); err != nil {
		t.Fatal(err)
	}
	return s.post.take(-1, func(letter) bool { return true })
}

// mail returns the newest mail to an address that brings a link, and drops the others
// to it.
func (s *stage) mail(t testing.TB, to string) letter {
	t.Helper()
	if err := s.settled(); err != nil {
		t.Fatal(err)
	}
	mails := s.post.take(-1, func(l letter) bool { return l.To == to })
	for _, l := range slices.Backward(mails) {
		if l.Link != "" {
			return l
		}
	}
	t.Fatalf("no mail to %s brings a link, of %d", to, len(mails))
	return letter{}
}

// letter takes the oldest mail to an address, of a kind if one is named, that no step
// has taken, and holds it to what is asserted: its members are kind, to, language,
// subject, text, html, link, token and code.
func (r *run) letter(words []string, expects []expectation) error {
	taken, err := r.takeLetters(1, words)
	if err != nil {
		return err
	}
	if len(taken) == 0 {
		return errors.New("there is none")
	}
	body, err := json.Marshal(taken[0])
	if err != nil {
		return err
	}
	a, captured := answer{body: body}, map[string]bool{}
	for _, e := range expects {
		for _, c := range e.checks {
			if err := a.hold(c.words, r.vars, captured); err != nil {
				return fmt.Errorf("line %d: %w\nin %s\n%.1000s", c.line, err, taken[0].Subject, taken[0].Text)
			}
		}
	}
	return nil
}

// noLetter demands that there is no such mail.
func (r *run) noLetter(words []string) error {
	taken, err := r.takeLetters(-1, words)
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("there is a mail: %s", taken[0].Subject)
	}
	return err
}

func (r *run) takeLetters(most int, words []string) ([]letter, error) {
	if len(words) < 1 || len(words) > 2 {
		return nil, errors.New("it takes an address, and perhaps a kind of mail")
	}
	if err := r.settled(); err != nil {
		return nil, err
	}
	return r.post.take(most, func(l letter) bool { return l.To == words[0] && (len(words) == 1 || l.Kind == words[1]) }), nil
}
