package web_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// A witness sees every exchange of a flow: the request with its body, and the
// answer.
type witness func(r *http.Request, sent []byte, status int, header http.Header, body []byte) error

// A run is one flow on its stage.
type run struct {
	*stage
	vars    variables
	streams map[string]*stream
	secrets map[string]bool // what must be in no log
	witness witness
	breaks  *breaks // makes writes of its requests fail; nil: they do not
	spoiled atomic.Bool
}

// interfere has steps fail in a way that nobody has foreseen, once they are spoiled.
func (r *run) interfere(op sqlstore.Operation) (after bool, err error) {
	if op.Kind == sqlstore.Write && r.spoiled.Load() {
		return false, errors.New("a row that must be there is not")
	}
	return false, nil
}

// directives are what a flow can do beside sending requests.
var directives = map[string]func(*run, []string) error{
	"wait":    (*run).wait,
	"apikey":  (*run).addAPIKey,
	"client":  (*run).addClient,
	"setup":   (*run).offerSetup,
	"stop":    func(r *run, _ []string) error { r.app.Stop(); return nil },
	"break":   func(r *run, _ []string) error { return r.app.Store.Close() },
	"spoil":   func(r *run, _ []string) error { r.spoiled.Store(true); return nil },
	"restart": func(r *run, _ []string) error { return r.restart() },
	"nomail":  (*run).noLetter,
	"printed": (*run).findPrinted,
	"event":   nil, // a step with expectations: see perform
	"mail":    nil, // likewise
}

// perform carries out one step.
func (r *run) perform(s step) error {
	words := make([]string, len(s.words))
	for i, word := range s.words {
		if i > 0 && s.words[i-1] == "->" {
			words[i] = word
			continue
		}
		var err error
		if words[i], err = r.vars.expand(word); err != nil {
			return err
		}
	}
	if r.app == nil {
		switch words[0] {
		case "config":
			return r.configure(words[1:])
		case "printer":
			r.stage.prints = true
			return nil
		case "hash":
			memory, err := strconv.ParseUint(words[1], 10, 32)
			r.stage.hash.MemoryKiB, r.stage.hash.Time = uint32(memory), 2
			return err
		}
		if err := r.start(); err != nil {
			return err
		}
	}
	if words[0] == "event" {
		return r.event(words[1:], s.expects)
	}
	if words[0] == "mail" {
		return r.letter(words[1:], s.expects)
	}
	if directive, known := directives[words[0]]; known {
		return directive(r, words[1:])
	}
	if words[0] != strings.ToUpper(words[0]) || len(words) < 2 {
		return fmt.Errorf("nothing is known of %q", words[0])
	}
	return r.request(words, s.expects)
}

func (r *run) configure(words []string) error {
	key, value, found := strings.Cut(strings.Join(words, " "), "=")
	if !found {
		return errors.New("config takes key=value")
	}
	r.settings[key] = value
	return nil
}

func (r *run) wait(words []string) error {
	d, err := time.ParseDuration(words[0])
	r.stage.wait(d)
	return err
}

// addAPIKey does what "coatcheck apikey add" does.
func (r *run) addAPIKey(words []string) error {
	if len(words) != 3 || words[1] != "->" {
		return errors.New("apikey takes SCOPE,SCOPE -> $name")
	}
	_, text, err := r.app.Accounts.AddAPIKey(context.Background(), "flow", strings.Split(words[0], ","), "cli", audit.Origin{})
	r.vars[words[2]] = text
	return err
}

// offerSetup does what the first start does.
func (r *run) offerSetup(words []string) error {
	token, offered, err := r.app.Accounts.OfferSetup(context.Background())
	if err == nil && !offered {
		return errors.New("a first administrator was made already")
	}
	r.vars[words[1]] = token
	return err
}

var headerForm = regexp.MustCompile(`(?s)^([A-Z][A-Za-z0-9-]*):([^=].*|)$`)

// A message is a request as a flow says it.
type message struct {
	method, target string
	header         http.Header
	members        map[string]json.RawMessage
	fields         url.Values
	form           bool
	raw            *string
	jar, stream    string
	times          int
}

func (r *run) parseMessage(words []string) (*message, error) {
	m := &message{method: words[0], target: words[1], header: http.Header{}, members: map[string]json.RawMessage{}, fields: url.Values{}, times: 1}
	var err error
	for _, word := range words[2:] {
		if header := headerForm.FindStringSubmatch(word); header != nil {
			m.header.Add(header[1], strings.TrimSpace(header[2]))
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "form":
			m.form = true
		case key == "bearer":
			m.header.Set("Authorization", "Bearer "+value)
		case key == "basic":
			id, secret, _ := strings.Cut(value, ":")
			m.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
		case key == "jar":
			m.jar = value
		case key == "stream":
			m.stream = value
		case key == "raw":
			m.raw = &value
		case key == "size":
			var n int
			n, err = strconv.Atoi(value)
			text := `{"email":"` + strings.Repeat("a", n) + `"}`
			m.raw = &text
		case key == "times":
			m.times, err = strconv.Atoi(value)
		case strings.HasSuffix(key, ":"):
			m.members[strings.TrimSuffix(key, ":")] = json.RawMessage(value)
		case strings.Contains(word, "="):
			m.fields.Add(key, value)
			m.members[key], err = json.Marshal(value)
		default:
			err = fmt.Errorf("nothing is known of %q", word)
		}
		if err != nil {
			return nil, err
		}
		if strings.Contains(key, "password") && value != "" {
			r.secrets[value] = true
		}
	}
	return m, nil
}

func (m *message) body() (text, contentType string, err error) {
	switch {
	case m.raw != nil:
		return *m.raw, "application/json", nil
	case m.form:
		return m.fields.Encode(), "application/x-www-form-urlencoded", nil
	case len(m.members) > 0:
		encoded, err := json.Marshal(m.members)
		return string(encoded), "application/json", err
	}
	return "", "", nil
}

// exchanged is a request with its answer.
type exchanged struct {
	status string
	answer
}

// request sends a message, as often as it says and at the same time, and holds
// every answer to the expectation with its status.
func (r *run) request(words []string, expects []expectation) error {
	m, err := r.parseMessage(words)
	if err != nil {
		return err
	}
	if r.breaks != nil {
		return r.breaks.request(r, m, expects)
	}
	answers, err := r.sendAll(m)
	if err != nil {
		return err
	}
	return r.meet(answers, expects)
}

// sendAll sends a message as often as it says, at the same time.
func (r *run) sendAll(m *message) ([]exchanged, error) {
	answers, errs := make([]exchanged, m.times), make([]error, m.times)
	var all sync.WaitGroup
	for i := range m.times {
		all.Go(func() { answers[i], errs[i] = r.send(m) })
	}
	all.Wait()
	return answers, errors.Join(errs...)
}

func (r *run) meet(answers []exchanged, expects []expectation) error {
	met, captured := map[string]bool{}, map[string]bool{}
	for _, a := range answers {
		i := slices.IndexFunc(expects, func(e expectation) bool { return e.status == a.status })
		if i < 0 {
			return fmt.Errorf("the answer is %s %.500s", a.status, a.body)
		}
		met[a.status] = true
		for _, c := range expects[i].checks {
			if err := a.hold(c.words, r.vars, captured); err != nil {
				return fmt.Errorf("line %d: %w\nin %s %.1000s", c.line, err, a.status, a.body)
			}
		}
	}
	for _, e := range expects {
		if !met[e.status] && !e.may {
			return fmt.Errorf("line %d: no answer was %s; the first is %s %.300s", e.line, e.status, answers[0].status, answers[0].body)
		}
	}
	return nil
}

func (r *run) send(m *message) (exchanged, error) {
	text, contentType, err := m.body()
	if err != nil {
		return exchanged{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, m.method, r.origin.Scheme+"://"+r.origin.Host+m.target, strings.NewReader(text))
	if err != nil {
		cancel()
		return exchanged{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, values := range m.header {
		req.Header[name] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	client, err := r.client(m.jar)
	if err != nil {
		cancel()
		return exchanged{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		return exchanged{}, err
	}
	if m.stream != "" && resp.StatusCode == http.StatusOK {
		r.streams[m.stream] = readStream(resp.Body, cancel)
		return r.exchanged(req, text, resp, nil)
	}
	defer cancel()
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return exchanged{}, err
	}
	return r.exchanged(req, text, resp, body)
}

// exchanged notes a request and its answer.
func (r *run) exchanged(req *http.Request, sent string, resp *http.Response, body []byte) (exchanged, error) {
	e := exchanged{status: strconv.Itoa(resp.StatusCode), answer: answer{header: resp.Header, body: body}}
	for secret := range r.secrets {
		if len(secret) >= 8 && strings.Contains(string(body), secret) {
			return e, errors.New("the answer repeats a password")
		}
	}
	return e, r.witness(req, []byte(sent), resp.StatusCode, resp.Header, body)
}
