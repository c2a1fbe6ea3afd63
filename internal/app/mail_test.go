package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// A postOffice is a mail server that keeps what it takes, by recipient.
type postOffice struct {
	mu      sync.Mutex
	letters map[string][]string
	busy    chan struct{} // closed when it has time; until then it lets everybody wait
	asked   chan struct{} // somebody waits
}

func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &sorting{office: p}, nil }

type sorting struct {
	office *postOffice
	to     string
}

func (s *sorting) Reset()        {}
func (s *sorting) Logout() error { return nil }

func (s *sorting) Mail(string, *smtp.MailOptions) error {
	select {
	case s.office.asked <- struct{}{}:
	default:
	}
	<-s.office.busy
	return nil
}

func (s *sorting) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = to; return nil }

func (s *sorting) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.office.letters[s.to] = append(s.office.letters[s.to], string(text))
	return nil
}

func (p *postOffice) count() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, letters := range p.letters {
		n += len(letters)
	}
	return n
}

// open serves at the address that was left free for it.
func (p *postOffice) open(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(p)
	go func() { _ = s.Serve(l) }() // ends when it is closed
	t.Cleanup(func() { _ = s.Close() })
}

// free returns an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func mailed(t *testing.T, address string) map[string]string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"mail.host": "127.0.0.1", "mail.port": port, "mail.tls": "none", "mail.from": "no-reply@acme.example"}
}

func post(t *testing.T, a *App, path, body string) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://localhost:8080"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code
}

// D-22: with the mail server down all the while, people sign up and ask for passwords
// as ever. When it is back everything that was promised arrives, once, and is good.
func TestMailServerDownAllTheWhile(t *testing.T) {
	address := free(t)
	c := configure(t, mailed(t, address))
	o := options(c)
	var mu sync.Mutex
	now := time.Now()
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	move := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	a := start(t, o, nil).App
	const people = 8
	for i := range people {
		body := fmt.Sprintf(`{"email":"ada.%d@example.com","password":"rain on a tin roof at night"}`, i)
		if code := post(t, a, "/v1/sign-up", body); code != http.StatusAccepted {
			t.Fatalf("sign-up is answered %d", code)
		}
		move(time.Minute)
	}
	office := &postOffice{letters: map[string][]string{}, busy: make(chan struct{}), asked: make(chan struct{}, 1)}
	close(office.busy)
	office.open(t, address)
	// The clock goes on until nothing waits; the loop of the server sends by itself.
	end := time.Now().Add(20 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); office.count() < people; <-tick {
		if time.Now().After(end) {
			t.Fatalf("%d of %d mails have arrived", office.count(), people)
		}
		move(time.Second)
	}
	token := regexp.MustCompile(`/verify\?token=3D(ckl_[\w=\r\n-]+?)\r\n\r\n`)
	office.mu.Lock()
	defer office.mu.Unlock()
	for i := range people {
		letters := office.letters[fmt.Sprintf("ada.%d@example.com", i)]
		if len(letters) != 1 {
			t.Fatalf("person %d got %d mails", i, len(letters))
		}
		if _, err := netmail.ReadMessage(strings.NewReader(letters[0])); err != nil {
			t.Error(err)
		}
		found := token.FindStringSubmatch(letters[0])
		if found == nil {
			t.Fatalf("the mail brings no link:\n%s", letters[0])
		}
		body := fmt.Sprintf(`{"token":%q,"password":"rain on a tin roof at night"}`, strings.ReplaceAll(found[1], "=\r\n", ""))
		if code := post(t, a, "/v1/email/verify", body); code != http.StatusNoContent {
			t.Errorf("the link of person %d is answered %d", i, code)
		}
	}
}

// A mail server that takes connections and then says nothing keeps no request waiting:
// all are answered before it says a word.
func TestASilentMailServerKeepsNoRequestWaiting(t *testing.T) {
	address := free(t)
	office := &postOffice{letters: map[string][]string{}, busy: make(chan struct{}), asked: make(chan struct{}, 1)}
	office.open(t, address)
	release := sync.OnceFunc(func() { close(office.busy) })
	defer release()
	a := start(t, options(configure(t, mailed(t, address))), nil).App
	const people = 8
	for i := range people {
		body := fmt.Sprintf(`{"email":"ada.%d@example.com","password":"rain on a tin roof at night"}`, i)
		if code := post(t, a, "/v1/sign-up", body); code != http.StatusAccepted {
			t.Fatalf("sign-up is answered %d", code)
		}
		if i == 0 {
			<-office.asked
		}
	}
	if n := office.count(); n != 0 {
		t.Fatalf("the server has taken %d mails, and was to be silent", n)
	}
	release()
	end := time.Now().Add(20 * time.Second)
	for tick := time.Tick(5 * time.Millisecond); office.count() < people; <-tick {
		if time.Now().After(end) {
			t.Fatalf("%d of %d mails have arrived", office.count(), people)
		}
	}
}
