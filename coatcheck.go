// Package coatcheck lets a Go service check who is calling without asking the
// issuer on every request, and still learn of an ended session at once.
//
// A [Verifier] checks access tokens by signature, and session cookies by asking
// the issuer once. It follows the issuer's log of revocations and holds every
// credential to it on every call, also one that it has seen before. It knows how
// much it does not know: when it has not heard from the log for longer than
// [Config.Staleness], it stops trusting itself and follows [Config.WhenStale].
//
// It needs the standard library only, and speaks to any issuer that serves the
// key set, the stream of revocations and introspection as Coatcheck does.
package coatcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/loopback"
)

// A Policy says what a verifier does while it has not heard from the log for
// longer than [Config.Staleness]. Whatever the policy, it refuses what it knows
// to be over.
type Policy int

// The policies.
const (
	// Deny refuses everything with [ErrStale], a 503, until the log is heard again.
	Deny Policy = iota
	// Ask asks the issuer about each credential, at most once a second for each.
	Ask
	// Offline goes on with access tokens until they expire, and refuses cookies.
	// An end that was not heard in time then takes effect when the token expires.
	Offline
)

// Config says whom a [Verifier] believes. Issuer and Audience are required, and
// APIKey too unless WhenStale is [Offline].
type Config struct {
	// Issuer is the address of the server whose credentials count, exactly as its
	// tokens name it: https, or http on a loopback address.
	Issuer string
	// Audience is the name of this service. Tokens for any other are refused.
	Audience string
	// APIKey lets the verifier hear the log and ask about cookies. It needs the
	// scopes revocations and introspect. It is sent to Issuer and nowhere else.
	APIKey string

	// TrustedOrigins are the origins, such as "https://shop.example", besides the
	// service's own, from which browsers may send unsafe requests with a cookie.
	TrustedOrigins []string
	// SharedCookie makes [Verifier.Require] read the session cookie that an issuer
	// with a cookie domain sets for all hosts of that domain, __Secure-coatcheck,
	// in place of __Host-coatcheck. Any host of the domain can set that cookie.
	SharedCookie bool

	// Staleness is how long the verifier trusts itself without hearing from the
	// log; 10 seconds if zero. It must exceed the issuer's heartbeat, 2 seconds.
	Staleness time.Duration
	// WhenStale is what happens after that; Deny if zero.
	WhenStale Policy
	// OfflineStore keeps keys, ends and time over a restart, for Offline only.
	// Without one they are in memory.
	OfflineStore OfflineStore
	// Remember is how many tokens, and how many cookies, are remembered at most;
	// 65536 if zero. One takes about 300 bytes beside its own length, and a token as
	// much again for claims that the operator added.
	Remember int

	// HTTPClient reaches the issuer; nil means one of the verifier's own. Its
	// Timeout, Jar and CheckRedirect are not used: the verifier sets a time limit
	// on each call and follows no redirect to another origin.
	HTTPClient *http.Client
	// Now is the clock; nil means time.Now. It must be safe for concurrent use.
	Now func() time.Time
	// Logger takes what an operator should know; nil means slog.Default. No
	// credential is ever logged.
	Logger *slog.Logger
}

const (
	defaultStaleness = 10 * time.Second
	defaultRemember  = 1 << 16
	askTimeout       = 5 * time.Second // for one answer of the issuer
	asksAtOnce       = 64
)

// A Verifier checks credentials of one issuer for one audience. It is safe for
// concurrent use. [Verifier.Close] ends it.
type Verifier struct {
	config  Config
	base    string // the issuer, without a slash at its end
	origin  *url.URL
	client  *http.Client
	log     *slog.Logger
	clock   clock
	cookies cookieNames
	fetch   *http.CrossOriginProtection

	set      feed.Set
	tokens   *feed.Memory[knownToken, *knownToken] // of this verifier's issuer and audience
	sessions *feed.Memory[knownCookie, *knownCookie]
	lately   *feed.Memory[said, *said] // what the issuer said within the last second or two
	vouches  vouches                   // for cookies
	shared   manners
	parser   jwt.Parser
	keys     keyCache
	watches  watches
	asks     flight[outcome]
	asking   chan struct{} // a place for each question under way

	heard      atomic.Pointer[heard]
	connection atomic.Pointer[connection]
	progress   progress
	changed    atomic.Bool // the OfflineStore is behind
	saved      int64       // the time it holds, Unix nanoseconds; of the goroutine that saves alone

	unanswered, keyless, deaf, unsaved, behind complaint

	life   context.Context // ends with Close
	finish context.CancelFunc
	mu     sync.Mutex // guards closed, and so that nothing starts once it is true
	closed bool
	group  sync.WaitGroup
}

// NewVerifier returns a verifier that begins to fetch the issuer's keys and to
// hear its log in the background. It does no I/O itself, so that a service can
// start before its issuer; [Verifier.Ready] waits. The error says which member
// of the configuration is wrong.
func NewVerifier(c Config) (*Verifier, error) {
	origin, err := checkConfig(&c)
	if err != nil {
		return nil, fmt.Errorf("coatcheck: %w", err)
	}
	v := &Verifier{
		config: c, base: strings.TrimSuffix(c.Issuer, "/"), origin: origin,
		log: c.Logger, fetch: http.NewCrossOriginProtection(),
		cookies: namesOf(origin.Scheme == "http", c.SharedCookie),
		asking:  make(chan struct{}, asksAtOnce),
	}
	v.clock.now = c.Now
	for _, trusted := range c.TrustedOrigins {
		if err := v.fetch.AddTrustedOrigin(trusted); err != nil {
			return nil, fmt.Errorf("coatcheck: TrustedOrigins: %w", err)
		}
	}
	v.client = newClient(c.HTTPClient, origin)
	v.tokens = feed.NewMemory[knownToken](&v.set, c.Remember)
	v.sessions = feed.NewMemory[knownCookie](&v.set, c.Remember)
	v.lately = feed.NewMemory[said](&v.set, c.Remember/4)
	v.progress.init()
	v.life, v.finish = context.WithCancel(context.Background())
	v.start(v.live)
	return v, nil
}

// checkConfig completes c and returns the issuer's address.
func checkConfig(c *Config) (*url.URL, error) {
	origin, err := checkIssuer(c.Issuer)
	switch {
	case err != nil:
		return nil, err
	case c.Audience == "":
		return nil, errors.New("Audience is required: the name that tokens for this service carry in aud")
	case c.WhenStale < Deny || c.WhenStale > Offline:
		return nil, errors.New("WhenStale must be Deny, Ask or Offline")
	case c.APIKey == "" && c.WhenStale != Offline:
		return nil, errors.New("APIKey is required: without one no revocation is heard. To do without, set WhenStale to Offline")
	case strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("APIKey holds a space, a line end or a character that no key has")
	case c.OfflineStore != nil && c.WhenStale != Offline:
		return nil, errors.New("OfflineStore is used only when WhenStale is Offline")
	case c.Staleness < 0:
		return nil, errors.New("Staleness must not be negative")
	case c.Remember < 0:
		return nil, errors.New("Remember must not be negative")
	}
	if c.Staleness == 0 {
		c.Staleness = defaultStaleness
	}
	if c.Remember == 0 {
		c.Remember = defaultRemember
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return origin, nil
}

func checkIssuer(issuer string) (*url.URL, error) {
	if issuer == "" {
		return nil, errors.New("Issuer is required: the address of the server whose credentials count")
	}
	u, err := url.Parse(issuer)
	switch {
	case err != nil:
		return nil, errors.New("Issuer is not an address")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("Issuer must be an address like https://auth.example.com, without user, query or fragment")
	case u.Scheme == "https", u.Scheme == "http" && loopback.Is(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("Issuer must begin with https:// (http:// only on a loopback address)")
}

// Close stops listening, closes every [Caller.Done] and waits for what the
// verifier had under way. After it, everything is refused with [ErrStale].
func (v *Verifier) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.finish()
	v.group.Wait()
	v.heard.Store(nil)
	v.closeAll()
	v.client.CloseIdleConnections()
}

// start runs f in the background until it returns, and reports whether it did:
// nothing starts once the verifier is closed.
func (v *Verifier) start(f func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.group.Go(f)
	return true
}

// Staleness returns how old the verifier's knowledge of the log is: the largest
// duration there is before the first snapshot, and always without an APIKey.
func (v *Verifier) Staleness() time.Duration {
	return v.heard.Load().age(v.clock.read())
}

func (v *Verifier) fresh(now instant) bool {
	return v.heard.Load().age(now) < v.config.Staleness
}
