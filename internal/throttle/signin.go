package throttle

import (
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
var remembered = Rate{Burst: 1, Every: 30 * 24 * time.Hour}

// SignIn decides how often a password may be tried. It is safe for concurrent
// use.
type SignIn struct {
	limiter  *Limiter
	familiar *Limiter // pairs that have succeeded: spent while familiar
	rates    Rates
}

// NewSignIn returns the policy with the given rates. It remembers at most about
// maxKeys counters, and as many familiar addresses.
func NewSignIn(now func() time.Time, maxKeys int, rates Rates) *SignIn {
	fill := func(rate *Rate, otherwise Rate) {
		if *rate == (Rate{}) {
			*rate = otherwise
		}
	}
	fill(&rates.Pair, DefaultRates.Pair)
	fill(&rates.Account, DefaultRates.Account)
	fill(&rates.Address, DefaultRates.Address)
	return &SignIn{limiter: New(now, maxKeys), familiar: New(now, maxKeys), rates: rates}
}

// Take counts an attempt before the password is looked at. account is the
// canonical form of the email, so that every spelling counts as one, whether or
// not there is such an account; address is the client's, as the configured
// proxies decide it. If it returns false nothing was counted, and retry says
// when an attempt will be let through.
func (s *SignIn) Take(account, address string) (ok bool, retry time.Duration) {
	pair, whole, from := s.limits(account, address)
	if s.familiar.spent(known(pair)) {
		return s.limiter.Take(pair, from)
	}
	return s.limiter.Take(pair, from, whole)
}

// Succeeded takes back what Take counted, since the password was right, and
// makes the address familiar to the account. Failures before it stay counted.
func (s *SignIn) Succeeded(account, address string) {
	s.Return(account, address)
	pair, _, _ := s.limits(account, address)
	s.familiar.Return(known(pair))
	s.familiar.Take(known(pair))
}

// Return takes back what Take counted, since in the end no password was looked
// at: there was no room to hash it, or the caller went away while waiting.
func (s *SignIn) Return(account, address string) {
	pair, whole, from := s.limits(account, address)
	if s.familiar.spent(known(pair)) {
		s.limiter.Return(pair, from)
	} else {
		s.limiter.Return(pair, from, whole)
	}
}

// limits returns the counters of an attempt. A group holds no NUL, and the first
// byte tells the kinds apart, so no two counters share a key.
func (s *SignIn) limits(account, address string) (pair, whole, from Limit) {
	group := AddressGroup(address)
	return Limit{Key: "p" + group + "\x00" + account, Rate: s.rates.Pair},
		Limit{Key: "a" + account, Rate: s.rates.Account},
		Limit{Key: "i" + group, Rate: s.rates.Address}
}

func known(pair Limit) Limit { return Limit{Key: pair.Key, Rate: remembered} }

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
