package throttle

import (
	"context"
	"net/netip"
	"time"
)

// Rates are the allowances for attempts to prove a password: sign-in,
// re-authentication and every other place that asks for one, all on the same
// counters. Only failures stay counted. A zero Rate means its default.
type Rates struct {
	// Pair (throttle.pair, 10/30s) is per account and address together. It is the
	// tight one, and the one that stops a guesser, because he can use it up only
	// for himself: others at other addresses do not notice.
	Pair Rate
	// Account (throttle.account, 50/20s) is per account over all addresses, the
	// backstop against guesses from many addresses at once. It does not hold for
	// an address from which the account was signed in to within the last 30 days,
	// so strangers who use it up do not lock the person out. One address alone
	// cannot use it up, since its pair refills more slowly than this does.
	Account Rate
	// Address (throttle.address, 100/1s) is per address over all accounts: an IPv4
	// address, or the /64 of an IPv6 address. It is loose, because an office or a
	// mobile network may share one.
	Address Rate
}

// DefaultRates are the rates without configuration.
var DefaultRates = Rates{
	Pair:    Rate{Burst: 10, Every: 30 * time.Second},
	Account: Rate{Burst: 50, Every: 20 * time.Second},
	Address: Rate{Burst: 100, Every: time.Second},
}

// remembered is for how long an address stays familiar to an account.
const remembered = 30 * 24 * time.Hour

// SignIn decides how often a password may be tried. It is safe for concurrent
// use.
type SignIn struct {
	store Store
	rates Rates
}

// NewSignIn returns the policy with the given rates, counted in store.
func NewSignIn(store Store, rates Rates) *SignIn {
	fill := func(rate *Rate, otherwise Rate) {
		if *rate == (Rate{}) {
			*rate = otherwise
		}
	}
	fill(&rates.Pair, DefaultRates.Pair)
	fill(&rates.Account, DefaultRates.Account)
	fill(&rates.Address, DefaultRates.Address)
	return &SignIn{store: store, rates: rates}
}

// Take counts an attempt before the password is looked at. account is the
// canonical form of the email, so that every spelling counts as one, whether or
// not there is such an account; address is the client's, as the configured
// proxies decide it. If it returns a time nothing was counted, and an attempt will
// be let through after that. After an error no password may be looked at.
func (s *SignIn) Take(ctx context.Context, account, address string) (retry time.Duration, err error) {
	limits, _ := s.limits(account, address)
	waits, err := s.store.Take(ctx, limits[:]...)
	return waits.Longest(), err
}

// Succeeded takes back what Take counted, since the password was right, and
// makes the address familiar to the account. Failures before it stay counted. After
// an error the success may stay counted, too.
func (s *SignIn) Succeeded(ctx context.Context, account, address string) error {
	limits, known := s.limits(account, address)
	return s.store.Return(ctx, known, limits[:]...)
}

// Return takes back what Take counted, since in the end no password was looked
// at: there was no room to hash it, or the caller went away while waiting.
func (s *SignIn) Return(ctx context.Context, account, address string) error {
	limits, _ := s.limits(account, address)
	return s.store.Return(ctx, Mark{}, limits[:]...)
}

// limits returns the counters of an attempt: of the pair, the address and, unless the
// address is familiar, the account; and the mark that makes it so. A group holds no
// NUL, and the first byte tells the kinds apart, so no two keys are the same.
func (s *SignIn) limits(account, address string) (limits [3]Limit, known Mark) {
	group := AddressGroup(address)
	pair := group + "\x00" + account
	known = Mark{Key: "k" + pair, For: remembered}
	return [3]Limit{
		{Key: "p" + pair, Rate: s.rates.Pair},
		{Key: "i" + group, Rate: s.rates.Address},
		{Key: "a" + account, Rate: s.rates.Account, Unless: known.Key},
	}, known
}

// AddressGroup returns the text under which an address is counted: an IPv4
// address whole, also when mapped into IPv6; an IPv6 address by its /64, since
// one subscriber has all of it; and everything that is no address as one group,
// so that a malformed one is no way to a counter of one's own.
func AddressGroup(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64) // without the zone
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}
