// Package wakeup has the other nodes read the revocation log as soon as something
// was added to it, by a word through Redis, rather than at their next poll.
//
// It carries nothing: who hears the word reads the log in the database, and who does
// not hear it reads it within a poll's time anyway. So Redis can be away, slow, empty,
// a replica or full of what others wrote, and all that changes is how soon. Whoever
// can write to it can make nodes look more often, up to a bound, and no more.
package wakeup

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// Prefix is how the names of our channels begin.
const Prefix = "coatcheck:log:"

// What bounds the work, and the waiting, of a node.
const (
	gap          = 5 * time.Millisecond // between two words sent, and between two reads that words ask for
	dialTimeout  = 2 * time.Second
	replyTimeout = 3 * time.Second // after which a connection that does not answer is given up
	epochEvery   = time.Second     // how soon a new epoch of the log is noticed
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second // between attempts to connect, and all that a lost Redis costs
	bufferBytes  = 4 << 10
)

// Config is what a Bell needs. All but the logger is required.
type Config struct {
	// URL is redis://, rediss:// or unix://, as [CheckURL] takes it.
	URL string
	// Epoch returns the epoch of the log, after which the channel is named, so that
	// only nodes on one database wake each other; "" while it is not known.
	Epoch func() string
	// Wake has the log read now. It must return at once.
	Wake func()
	// Logger may be nil.
	Logger *slog.Logger
}

// A Bell wakes other nodes, and this one when another rings. It is safe for
// concurrent use.
type Bell struct {
	config Config
	option rueidis.ClientOption
	self   string        // by which a node knows its own words
	rung   chan struct{} // of one: rings while a word is on its way become one more word
	heard  chan struct{} // likewise for reads

	connected      atomic.Bool
	sent, received atomic.Uint64
}

// errURL tells what a URL has to be. The one that is not right may hold a password.
var errURL = errors.New("write redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:///PATH, each with USER:PASSWORD@ if it asks for one")

// New returns a Bell. It connects nowhere before Run.
func New(c Config) (*Bell, error) {
	option, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Bell{
		config: c, option: option, self: credential.NewOrdinal(),
		rung: make(chan struct{}, 1), heard: make(chan struct{}, 1),
	}, nil
}

// CheckURL returns nil if text is the address of a Redis, and otherwise what to write,
// without a word of the text.
func CheckURL(text string) error {
	_, err := parse(text)
	return err
}

// parse reads an address. What rueidis reads from the query of one, switches that turn
// the verification of certificates off among it, is refused.
func parse(text string) (rueidis.ClientOption, error) {
	none := rueidis.ClientOption{}
	u, err := url.Parse(text)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return none, errURL
	}
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
			return none, errURL
		}
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return none, errURL
		}
	default:
		return none, errURL
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	option, err := rueidis.ParseURL(u.String())
	if err != nil {
		return none, errURL
	}
	// One connection, also to a cluster, each node of which passes on the words of all.
	option.ForceSingleClient, option.PipelineMultiplex = true, -1
	option.DisableCache, option.DisableRetry = true, true
	option.ClientName, option.ClientSetInfo = "coatcheck", []string{}
	option.Dialer.Timeout, option.ConnWriteTimeout = dialTimeout, replyTimeout
	option.ReadBufferEachConn, option.WriteBufferEachConn, option.RingScaleEachConn = bufferBytes, bufferBytes, 8
	return option, nil
}

// Place returns where the Redis is, for people: without user and password.
func (b *Bell) Place() string { return b.option.InitAddress[0] }

// Connected reports whether this node hears others now.
func (b *Bell) Connected() bool { return b.connected.Load() }

// Sent returns how many words went out: fewer than there were rings, in a hurry.
func (b *Bell) Sent() uint64 { return b.sent.Load() }

// Received returns how many words of others came.
func (b *Bell) Received() uint64 { return b.received.Load() }

// Ring wakes the other nodes, soon and perhaps: it never waits. Call it after the
// commit that they are to see.
func (b *Bell) Ring() { raise(b.rung) }

func raise(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// Run keeps the connection, rings and listens, until ctx ends.
func (b *Bell) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.wake(ctx)
	}()
	defer func() { <-done }()
	silent, pause := false, firstPause
	for {
		begun := time.Now()
		err := b.serve(ctx, func() {
			if silent {
				b.config.Logger.Info("Redis is back: other nodes hear of ends at once", "redis", b.Place())
			}
			silent = false
		})
		b.connected.Store(false)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNewEpoch):
			continue
		case !silent:
			b.config.Logger.Warn("Redis is lost: other nodes hear of ends at their next poll", "redis", b.Place(), "error", err)
			silent = true
		}
		if time.Since(begun) > longestPause { // it was fine until now
			pause = firstPause
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// wake has the log read for the words that came, at most once in a gap.
func (b *Bell) wake(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.heard:
			b.config.Wake()
		}
		if !sleep(ctx, gap) {
			return
		}
	}
}

// sleep reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// errNewEpoch means that the channel has another name from now on.
var errNewEpoch = errors.New("the log has a new epoch")

// serve connects and goes on until the connection is lost or ctx ends. It calls
// connected when it hears others.
func (b *Bell) serve(ctx context.Context, connected func()) error {
	line, err := connect(ctx, b.option)
	if err != nil {
		return err
	}
	defer line.hangUp()
	channel := Prefix + b.config.Epoch()
	subscribed, lost := line.listen(channel, b.hear)
	tick := time.NewTicker(epochEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return err
		case <-subscribed:
			b.connected.Store(true)
			connected()
			raise(b.heard) // for what was said before
		case <-tick.C:
			if Prefix+b.config.Epoch() != channel {
				return errNewEpoch
			}
		case <-b.rung:
			if err := line.say(channel, b.self); err != nil {
				return err
			}
			b.sent.Add(1)
			sleep(ctx, gap)
		}
	}
}

// hear takes a word. Whatever it is, unless it is our own, somebody has a reason to
// say it.
func (b *Bell) hear(m rueidis.PubSubMessage) {
	if m.Message == b.self {
		return
	}
	b.received.Add(1)
	raise(b.heard)
}

// A line is one connection. It breaks when its context ends, in whatever it is
// waiting.
type line struct {
	ctx    context.Context
	end    context.CancelFunc
	client rueidis.Client
}

func connect(ctx context.Context, option rueidis.ClientOption) (*line, error) {
	ctx, end := context.WithCancel(ctx)
	dial := option.DialCtxFn
	option.DialCtxFn = func(_ context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		within, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dialed(within, dial, address, dialer, config)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // unless it is closed already
		}
		return conn, err
	}
	client, err := rueidis.NewClient(option)
	l := &line{ctx, end, client}
	if err != nil {
		l.hangUp()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return l, nil
}

type dialFunc = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

func dialed(ctx context.Context, dial dialFunc, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	switch {
	case dial != nil: // of a unix socket
		return dial(ctx, address, dialer, config)
	case config != nil:
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// hangUp breaks the connection first, since a client that is closed waits for its
// server.
func (l *line) hangUp() {
	l.end()
	if l.client != nil {
		l.client.Close()
	}
}

// listen calls hear with every word on a channel until the line breaks. It tells when
// that has begun, and why it ended.
func (l *line) listen(channel string, hear func(rueidis.PubSubMessage)) (subscribed <-chan struct{}, lost <-chan error) {
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ctx := rueidis.WithOnSubscriptionHook(l.ctx, func(rueidis.PubSubSubscription) { raise(begun) })
		err := l.client.Receive(ctx, l.client.B().Subscribe().Channel(channel).Build(), hear)
		ended <- fmt.Errorf("listen: %w", err)
	}()
	return begun, ended
}

func (l *line) say(channel, word string) error {
	ctx, cancel := context.WithTimeout(l.ctx, replyTimeout)
	defer cancel()
	if err := l.client.Do(ctx, l.client.B().Publish().Channel(channel).Message(word).Build()).Error(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// Try does with the Redis at a URL, within seconds, what a Bell does with it: it
// listens on a channel of ours and publishes to it. It returns where the Redis is, for
// people, and what does not work.
func Try(ctx context.Context, text string) (place string, err error) {
	option, err := parse(text)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	place = option.InitAddress[0]
	line, err := connect(ctx, option)
	if err != nil {
		return place, err
	}
	defer line.hangUp()
	channel := Prefix + "try:" + credential.NewOrdinal()
	subscribed, lost := line.listen(channel, func(rueidis.PubSubMessage) {})
	select {
	case <-subscribed:
		return place, line.say(channel, "")
	case err := <-lost:
		return place, err
	}
}
