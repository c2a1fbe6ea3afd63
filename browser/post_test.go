package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// A letter is a mail as its reader sees it.
type letter struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html"`
}

// A postOffice is a mail server that keeps what it is given, for the scenarios to
// read: GET /?to=ADDRESS&after=N answers with the letters to an address as soon as
// there are more than N, or with 504.
type postOffice struct {
	host, port string // of SMTP
	mu         sync.Mutex
	letters    []letter
	arrived    chan struct{} // closed and made anew with each letter
}

// patience is how long a scenario waits for a mail. The outbox of the server has
// no reason to take more than a moment.
const patience = 15 * time.Second

func openPostOffice() (*postOffice, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &postOffice{arrived: make(chan struct{})}
	p.host, p.port, _ = net.SplitHostPort(l.Addr().String())
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{office: p}, nil }))
	s.Domain, s.ReadTimeout, s.WriteTimeout = "localhost", time.Minute, time.Minute
	go func() { _ = s.Serve(l) }() // ends when it is closed
	endings = append(endings, func() { _ = s.Close() })
	return p, nil
}

// A delivery is one conversation with a client.
type delivery struct {
	office *postOffice
	to     []string
}

func (d *delivery) Reset()                                    { d.to = nil }
func (d *delivery) Logout() error                             { return nil }
func (d *delivery) Mail(string, *smtp.MailOptions) error      { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error { d.to = append(d.to, to); return nil }

func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l, err := readLetter(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: err.Error()}
	}
	d.office.mu.Lock()
	defer d.office.mu.Unlock()
	for _, to := range d.to {
		l.To = to
		d.office.letters = append(d.office.letters, l)
	}
	close(d.office.arrived)
	d.office.arrived = make(chan struct{})
	return nil
}

// readLetter takes a mail apart.
func readLetter(raw []byte) (letter, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return letter{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return letter{}, err
	}
	l := letter{Subject: subject}
	media, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return letter{}, err
	}
	if !strings.HasPrefix(media, "multipart/") {
		return l, l.fill(media, m.Header.Get("Content-Transfer-Encoding"), m.Body)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return letter{}, err
		}
		if err := l.fill(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part); err != nil {
			return letter{}, err
		}
	}
}

func (l *letter) fill(media, encoding string, body io.Reader) error {
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(media, "text/plain"):
		l.Text = string(text)
	case strings.HasPrefix(media, "text/html"):
		l.HTML = string(text)
	default:
		return fmt.Errorf("a part is %s", media)
	}
	return nil
}

// to returns the letters to an address in their order, and what is closed when the
// next letter to anybody comes.
func (p *postOffice) to(address string) ([]letter, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := []letter{}
	for _, l := range p.letters {
		if l.To == address {
			found = append(found, l)
		}
	}
	return found, p.arrived
}

func (p *postOffice) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var after int
	if text := r.FormValue("after"); text != "" {
		if _, err := fmt.Sscan(text, &after); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	over := time.After(patience)
	for {
		letters, more := p.to(r.FormValue("to"))
		if len(letters) > after {
			_ = json.NewEncoder(w).Encode(letters) // a scenario that has gone needs no answer
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-over:
			http.Error(w, fmt.Sprintf("these letters to %s came, and no more: %+v", r.FormValue("to"), letters), http.StatusGatewayTimeout)
			return
		}
	}
}
