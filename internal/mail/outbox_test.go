package mail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A way is a transport that does as a test says, and keeps what it takes.
type way struct {
	mu       sync.Mutex
	closed   bool                     // no line can be had
	answer   func(mail.Written) error // nil: all is taken
	mails    []mail.Written
	attempts int // to connect
	open     int // lines
	arrived  chan struct{}
}

func (w *way) Connect(context.Context) (mail.Line, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts++
	if w.closed {
		return nil, errors.New("nobody is there")
	}
	w.open++
	return w, nil
}

func (w *way) Send(m mail.Written) error {
	w.mu.Lock()
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		if err := answer(m); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mails = append(w.mails, m)
	if w.arrived != nil {
		w.arrived <- struct{}{}
	}
	return nil
}

func (w *way) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
}

func (w *way) set(change func(*way)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// ids returns the ids of what was taken, in order.
func (w *way) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, len(w.mails))
	for i, m := range w.mails {
		out[i] = m.ID
	}
	return out
}

// A house is an outbox over a real store, on a clock that tests move.
type house struct {
	*clock
	store  *sqlstore.DB
	way    *way
	outbox *mail.Outbox
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{clock: &clock{now: time.Date(2030, 1, 31, 14, 5, 6, 0, time.UTC)}, way: &way{}}
	db, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"), Now: h.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h.store, h.outbox = db, nil
	h.outbox = h.node(h.store, h.way)
	return h
}

// node is another outbox over a store.
func (h *house) node(store mail.Store, way mail.Transport) *mail.Outbox {
	return mail.NewOutbox(store, plainly, way, h.Now, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// plainly writes a letter without templates.
func plainly(l mail.Letter) (mail.Written, error) {
	if l.Values["broken"] != "" {
		return mail.Written{}, errors.New("a broken template")
	}
	return mail.Written{ID: l.ID, Kind: l.Kind, To: l.To, Date: l.Created, Subject: "Subject", Text: "Text\n", HTML: "<p>Text"}, nil
}

func (h *house) post(t *testing.T, n int, change ...func(*mail.Message)) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		m := mail.New(mail.PasswordChanged, fmt.Sprintf("ada.%d@example.com", i), "")
		for _, each := range change {
			each(&m)
		}
		ids[i] = m.ID
		if err := h.store.Post(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		h.Advance(time.Millisecond)
	}
	return ids
}

func worth(h *house, d time.Duration) func(*mail.Message) {
	return func(m *mail.Message) { m.Expires = h.Now().Add(d) }
}

func (h *house) deliver(t *testing.T) {
	t.Helper()
	if err := h.outbox.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (h *house) counts(t *testing.T) mail.Counts {
	t.Helper()
	c, err := h.store.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatIsPostedIsSentOnceInOrder(t *testing.T) {
	h := newHouse(t)
	ids := h.post(t, 45) // more than two rounds
	h.deliver(t)
	h.deliver(t)
	if got := h.way.ids(); !slices.Equal(got, ids) {
		t.Errorf("sent were %q, want %q", got, ids)
	}
	if c := h.counts(t); c.Waiting+c.Dead != 0 || h.way.open != 0 {
		t.Errorf("left are %+v and %d open lines", c, h.way.open)
	}
	if f := h.outbox.Figures(); f != (mail.Figures{Sent: 45}) {
		t.Errorf("the figures are %+v", f)
	}
}

// D-22: a refused mail is tried again after 30 s, twice as long each time up to an
// hour, until it is no longer worth sending; then it is a dead letter.
func TestBackoff(t *testing.T) {
	h := newHouse(t)
	h.way.answer = func(mail.Written) error { return &mail.Refusal{Why: "not now (451 4.7.1)"} }
	h.post(t, 1, worth(h, 72*time.Hour))
	tries := h.tries(t, 80*time.Hour)
	want := []time.Duration{0, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour}
	if len(tries) < 70 || !slices.Equal(tries[:len(want)], want) {
		t.Errorf("the tries were %v apart", tries)
	}
	var sum time.Duration
	for _, d := range tries {
		sum += d
	}
	if sum > 72*time.Hour || sum < 71*time.Hour {
		t.Errorf("the last try was after %v", sum)
	}
	if c := h.counts(t); c.Waiting != 0 || c.Dead != 1 || c.Failure != "it was not sent in time: not now (451 4.7.1)" {
		t.Errorf("left are %+v", c)
	}
}

// What waits for a server that is away goes out soon after it is back: nothing waits
// longer than five minutes for that, and a link that is good for an hour is tried until
// shortly before its end.
func TestBackoffWhileTheServerIsAway(t *testing.T) {
	h := newHouse(t)
	h.way.closed = true
	h.post(t, 1, worth(h, time.Hour))
	tries := h.tries(t, 2*time.Hour)
	var sum time.Duration
	for _, d := range tries {
		sum += d
	}
	if longest := slices.Max(tries); longest != 5*time.Minute || sum < 59*time.Minute || sum > time.Hour {
		t.Errorf("the tries were %v apart, the last after %v", tries, sum)
	}
	if c := h.counts(t); c.Dead != 1 || !strings.Contains(c.Failure, "nobody is there") || !h.outbox.Figures().Away {
		t.Errorf("left are %+v", c)
	}
}

// tries moves the clock second by second and returns how far apart attempts were.
func (h *house) tries(t *testing.T, length time.Duration) []time.Duration {
	t.Helper()
	var tries []time.Duration
	last := h.Now()
	seen := h.outbox.Figures().Failed
	for end := h.Now().Add(length); h.Now().Before(end); {
		h.deliver(t)
		if failed := h.outbox.Figures().Failed; failed > seen {
			seen = failed
			tries = append(tries, h.Now().Sub(last).Truncate(time.Second))
			last = h.Now()
		}
		due, waits, err := h.store.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !waits {
			break
		}
		h.Advance(max(time.Millisecond, due.Sub(h.Now())))
	}
	return tries
}

func TestRefusedForGoodIsADeadLetter(t *testing.T) {
	h := newHouse(t)
	ids := h.post(t, 3)
	h.way.answer = func(w mail.Written) error {
		if w.ID == ids[1] {
			return &mail.Refusal{Why: "no such mailbox (550 5.1.1)", Final: true}
		}
		return nil
	}
	h.deliver(t)
	if got := h.way.ids(); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("sent were %q", got)
	}
	if c := h.counts(t); c.Waiting != 0 || c.Dead != 1 || c.Failure != "no such mailbox (550 5.1.1)" {
		t.Errorf("left are %+v", c)
	}
	h.Advance(40 * 24 * time.Hour)
	h.run(t, func() {
		h.until(t, "the dead letter is forgotten", func() bool { return h.counts(t).Dead == 0 })
	})
}

// A mail that breaks each line it is sent over, or cannot be written, keeps no other
// back.
func TestOneBadMailKeepsNoOtherBack(t *testing.T) {
	h := newHouse(t)
	bad := h.post(t, 1)[0]
	h.post(t, 1, func(m *mail.Message) { m.Values = map[string]string{"broken": "yes"} })
	good := h.post(t, 10)
	h.way.answer = func(w mail.Written) error {
		if w.ID == bad {
			return errors.New("the line broke")
		}
		return nil
	}
	h.deliver(t)
	if got := h.way.ids(); !slices.Equal(got, good) {
		t.Errorf("sent were %q, want %q", got, good)
	}
	if c := h.counts(t); c.Waiting != 2 || c.Dead != 0 {
		t.Errorf("left are %+v", c)
	}
}

// D-22: a server that is away costs one attempt for a batch, and one in five seconds,
// however many mails wait.
func TestAnAwayServerIsNotStormed(t *testing.T) {
	h := newHouse(t)
	h.way.closed = true
	h.post(t, 100)
	for range 50 {
		h.deliver(t)
		h.Advance(100 * time.Millisecond)
	}
	if h.way.attempts != 1 {
		t.Errorf("in five seconds there were %d attempts", h.way.attempts)
	}
}

// A flapping server: each line breaks after two mails. Nothing is lost, and nothing
// sent twice.
func TestAFlappingServer(t *testing.T) {
	h := newHouse(t)
	ids := h.post(t, 30)
	n := 0
	h.way.answer = func(mail.Written) error {
		if n++; n%3 == 0 {
			return errors.New("the line broke")
		}
		return nil
	}
	for range 100 {
		h.deliver(t)
		h.Advance(time.Minute)
	}
	got := h.way.ids()
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("sent were %d of %d", len(got), len(ids))
	}
}

// Eight nodes over one store: each mail is sent by one of them.
func TestNodesShareTheWork(t *testing.T) {
	h := newHouse(t)
	ids := h.post(t, 100)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := h.node(h.store, h.way).Deliver(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	h.deliver(t)
	got := h.way.ids()
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("%d were sent of %d", len(got), len(ids))
	}
}

// A deaf store loses the word that a mail was sent, so often.
type deaf struct {
	mail.Store
	times int
}

func (d *deaf) Sent(ctx context.Context, id, lease string) error {
	if d.times > 0 {
		d.times--
		return errors.New("the database is away")
	}
	return d.Store.Sent(ctx, id, lease)
}

// A mail whose sending could not be recorded is not sent again by the node that knows;
// after a crash it is, under the same Message-ID.
func TestSentButNotRecorded(t *testing.T) {
	h := newHouse(t)
	id := h.post(t, 1)[0]
	store := &deaf{h.store, 2}
	h.outbox = h.node(store, h.way)
	for range 5 {
		_ = h.outbox.Deliver(t.Context()) // the store's error
		h.Advance(time.Hour)
	}
	if got := h.way.ids(); !slices.Equal(got, []string{id}) || h.counts(t).Waiting != 0 {
		t.Errorf("sent were %q, and %+v are left", got, h.counts(t))
	}

	id = h.post(t, 1)[0]
	h.way.mails = nil
	_ = h.node(&deaf{h.store, 1}, h.way).Deliver(t.Context()) // and here the process dies
	h.deliver(t)
	if got := h.way.ids(); !slices.Equal(got, []string{id}) {
		t.Errorf("under the lease of the dead sent were %q", got)
	}
	h.Advance(time.Hour)
	h.deliver(t)
	if got := h.way.ids(); !slices.Equal(got, []string{id, id}) {
		t.Errorf("after the lease sent were %q", got)
	}
}

// run runs the outbox while f does.
func (h *house) run(t *testing.T, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		h.outbox.Run(ctx)
	}()
	f()
	cancel()
	<-ran
}

func (h *house) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-end:
			t.Fatalf("it does not happen that %s", what)
		case <-tick.C:
		}
	}
}

func TestWhatIsPostedWakesTheOutbox(t *testing.T) {
	h := newHouse(t)
	h.way.arrived = make(chan struct{})
	h.store.Posted(h.outbox.Wake)
	h.run(t, func() {
		for range 3 {
			h.post(t, 1)
			<-h.way.arrived
		}
	})
}

// A mail server that hangs keeps nobody waiting: steps that post go through, and the
// end of the process waits only for the mail that is under way.
func TestAHangingServerKeepsNobodyWaiting(t *testing.T) {
	h := newHouse(t)
	hanging, free := make(chan struct{}), make(chan struct{})
	h.way.answer = func(mail.Written) error {
		hanging <- struct{}{}
		<-free
		return nil
	}
	h.store.Posted(h.outbox.Wake)
	h.run(t, func() {
		h.post(t, 1)
		<-hanging
		h.post(t, 200) // each returns while the server hangs
		h.way.set(func(w *way) { w.answer = nil })
		close(free)
		h.until(t, "all are sent", func() bool { return len(h.way.ids()) == 201 })
	})
}

// What is under way when the process ends is sent and recorded, and the rest is there
// for the next.
func TestTheEndOfTheProcess(t *testing.T) {
	h := newHouse(t)
	ids := h.post(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	h.way.answer = func(w mail.Written) error {
		cancel()
		return nil
	}
	if err := h.outbox.Deliver(ctx); err != nil {
		t.Fatal(err)
	}
	if got := h.way.ids(); !slices.Equal(got, ids[:1]) || h.counts(t).Waiting != 4 {
		t.Errorf("sent were %q, and %+v are left", got, h.counts(t))
	}
	h.way.answer = nil
	h.outbox = h.node(h.store, h.way)
	h.deliver(t) // at once: what was claimed was given back
	if got := h.way.ids(); !slices.Equal(got, ids) {
		t.Errorf("sent were %q, want %q", got, ids)
	}
}

// The whole of D-22 over SMTP: with the server down nothing is lost, and when it is back
// everything is delivered once.
func TestServerDownAndBack(t *testing.T) {
	h := newHouse(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{plain: true}
	client := &mail.SMTP{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: mail.NoTLS, From: "no-reply@acme.example"}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.outbox = h.node(h.store, client)
	want := map[string]int{}
	for range 40 { // half an hour of people, and nobody there
		for _, id := range h.post(t, 2, worth(h, time.Hour)) {
			want["<"+id+"@acme.example>"] = 1
		}
		h.deliver(t)
		h.Advance(45 * time.Second)
	}
	if c := h.counts(t); c.Waiting != 80 || c.Dead != 0 || !strings.Contains(c.Failure, "127.0.0.1") {
		t.Fatalf("while the server is down there are %+v", c)
	}
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s.serve(t, l)
	for range 11 {
		h.deliver(t)
		h.Advance(30 * time.Second)
	}
	got := map[string]int{}
	for _, m := range s.taken() {
		header, _ := m.open(t)
		got[header.Get("Message-Id")]++
	}
	if !maps.Equal(got, want) || h.counts(t) != (mail.Counts{}) {
		t.Errorf("delivered were %d different mails of %d, and %+v are left", len(got), len(want), h.counts(t))
	}
}

func TestThePrinterRemembersTheLast(t *testing.T) {
	var log strings.Builder
	p := mail.NewPrinter(slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 60 {
		if err := p.Send(mail.Written{ID: fmt.Sprint(i), To: "ada@example.com", Subject: "Subject", Text: "Text", Link: "https://localhost/verify"}); err != nil {
			t.Fatal(err)
		}
	}
	mails := p.Mails()
	if len(mails) != 50 || mails[0].ID != "59" || mails[49].ID != "10" {
		t.Errorf("it remembers %d, from %s", len(mails), mails[0].ID)
	}
	if !strings.Contains(log.String(), "link=https://localhost/verify text=Text\n") || !strings.Contains(log.String(), "ada@example.com") {
		t.Errorf("the log says %.300s", log.String())
	}
}
