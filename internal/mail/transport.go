package mail

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A Written is a message with its words, ready to go.
type Written struct {
	ID       string // of the message; the same each time it is written
	Kind     Kind
	To       string
	Language string    // BCP 47
	Date     time.Time // when the message was written down
	Subject  string
	Text     string
	HTML     string
	Link     string // that it brings; empty: none
	Code     string // likewise
}

// A Transport is a way out of the house. It is safe for concurrent use.
type Transport interface {
	// Connect opens a line. An error says that the way is closed, not that anything is
	// wrong with a mail, and holds no secret. The line lives no longer than ctx.
	Connect(ctx context.Context) (Line, error)
}

// A Line takes mails one after the other.
type Line interface {
	// Send hands over one mail. A [*Refusal] is about this mail alone; any other error
	// is about the line, which is then of no more use.
	Send(w Written) error
	// Close ends the line. It is not called twice.
	Close()
}

// A Refusal says why one mail was not taken. It holds no address.
type Refusal struct {
	Why   string
	Final bool // trying again is of no use
}

// Error returns why.
func (r *Refusal) Error() string { return r.Why }

// shown is how many mails a [Printer] remembers.
const shown = 50

// A Printer stands in for a mail server where somebody develops: it logs each mail
// whole, links and codes included, and remembers the last 50.
type Printer struct {
	logger *slog.Logger

	mu    sync.Mutex
	mails []Written // newest last
}

// NewPrinter returns a Printer that has printed nothing.
func NewPrinter(logger *slog.Logger) *Printer { return &Printer{logger: logger} }

// Connect returns the printer itself.
func (p *Printer) Connect(context.Context) (Line, error) { return p, nil }

// Send prints a mail and remembers it.
func (p *Printer) Send(w Written) error {
	attrs := []any{"to", w.To, "subject", w.Subject}
	if w.Link != "" {
		attrs = append(attrs, "link", w.Link)
	}
	if w.Code != "" {
		attrs = append(attrs, "code", w.Code)
	}
	p.logger.Info("a mail, printed because there is no mail.host; it can be read at /dev/mail, too", append(attrs, "text", w.Text)...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, w)
	p.mails = slices.Delete(p.mails, 0, max(0, len(p.mails)-shown))
	return nil
}

// Close does nothing.
func (p *Printer) Close() {}

// Mails returns what is remembered, newest first.
func (p *Printer) Mails() []Written {
	p.mu.Lock()
	defer p.mu.Unlock()
	mails := slices.Clone(p.mails)
	slices.Reverse(mails)
	return mails
}

// Nowhere drops every mail: it is for a server that was told in words to do without.
type Nowhere struct{}

// Connect returns a line that drops what it takes.
func (Nowhere) Connect(context.Context) (Line, error) { return Nowhere{}, nil }

// Send drops a mail.
func (Nowhere) Send(Written) error { return nil }

// Close does nothing.
func (Nowhere) Close() {}
