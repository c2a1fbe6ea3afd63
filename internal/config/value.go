package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A value reads and shows one field of a Config. Its errors are for the
// operator: they say what is wrong and what to write instead.
type value struct {
	form string // how it is written, for the manual
	list bool   // any number of texts, else exactly one
	set  func(texts []string) error
	show func() string
}

// single is a value of one text.
func single(form string, set func(string) error, show func() string) value {
	return value{form: form, show: show, set: func(texts []string) error { return set(texts[0]) }}
}

// many is a list of strings, each of which check may turn into its proper form.
// A repeated one is refused: it is a slip that hides another.
func many(form string, p *[]string, check func(string) (string, error)) value {
	set := func(texts []string) error {
		var all []string
		for _, text := range texts {
			item, err := check(text)
			if err != nil {
				return err
			}
			if slices.Contains(all, item) {
				return fmt.Errorf("%s is there twice", quote(item))
			}
			all = append(all, item)
		}
		*p = all
		return nil
	}
	return value{form: form, list: true, set: set, show: func() string { return strings.Join(*p, ", ") }}
}

// quote shows a wrong value, shortened, with nothing in it that a terminal acts on.
func quote(text string) string {
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "…"
	}
	return strconv.QuoteToASCII(text)
}

func duration(p *time.Duration, low, high time.Duration) value {
	return single(fmt.Sprintf("duration, %s to %s", formatDuration(low), formatDuration(high)), func(text string) error {
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		if d < low || d > high {
			return fmt.Errorf("%s is out of range: %s to %s", formatDuration(d), formatDuration(low), formatDuration(high))
		}
		*p = d
		return nil
	}, func() string { return formatDuration(*p) })
}

// parseDuration reads what time.ParseDuration does, after an optional number of
// whole days of 24 hours: "7d", "1d12h", "1h30m".
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf(`%s is no duration: write a number and a unit, such as "90s", "10m", "1h30m" or "7d"`, quote(text))
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, bad
	}
	var d time.Duration
	if rest != "" {
		if d, err = time.ParseDuration(rest); err != nil || d < 0 || strings.HasPrefix(rest, "+") {
			return 0, bad
		}
	} else if !found {
		return 0, bad
	}
	if d += time.Duration(n) * day; d < 0 { // more than fits
		return 0, bad
	}
	return d, nil
}

// formatDuration writes d as parseDuration reads it, in the shortest way.
func formatDuration(d time.Duration) string {
	text := ""
	if days := d / day; days > 0 {
		text, d = strconv.Itoa(int(days))+"d", d%day
		if d == 0 {
			return text
		}
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return text + rest
}

func whole(p *int, low, high int) value {
	return single(fmt.Sprintf("whole number, %d to %d", low, high), func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s is no whole number", quote(text))
		}
		if n < low || n > high {
			return fmt.Errorf("%d is out of range: %d to %d", n, low, high)
		}
		*p = n
		return nil
	}, func() string { return strconv.Itoa(*p) })
}

// wholeOr is a whole number or a word that stands for the number meant.
func wholeOr(word string, meant int, p *int, low, high int) value {
	number := whole(p, low, high)
	return single(number.form+", or "+word, func(text string) error {
		if text == word {
			*p = meant
			return nil
		}
		if err := number.set([]string{text}); err != nil {
			return fmt.Errorf("%w, or the word %s", err, word)
		}
		return nil
	}, func() string {
		if *p == meant && meant < low {
			return word
		}
		return number.show()
	})
}

func cores() int { return runtime.GOMAXPROCS(0) }

// choices is a sentence's list of the values there are.
func choices(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

func among(text string, all []string) (string, error) {
	if !slices.Contains(all, text) {
		return "", fmt.Errorf("%s is not known in this version: it is %s", quote(text), choices(all))
	}
	return text, nil
}

func one(p *string, all ...string) value {
	return single(choices(all), func(text string) (err error) {
		text, err = among(text, all)
		if err == nil {
			*p = text
		}
		return err
	}, func() string { return *p })
}

// some is any number of the given words, at least one if needed.
func some(p *[]string, needed bool, all ...string) value {
	v := many("list of "+choices(all), p, func(text string) (string, error) { return among(text, all) })
	if needed {
		set := v.set
		v.set = func(texts []string) error {
			if len(texts) == 0 {
				return fmt.Errorf("at least one is needed of %s", choices(all))
			}
			return set(texts)
		}
	}
	return v
}

// names are tokens as OAuth writes them (RFC 6749 §3.3): visible ASCII but
// quotation mark and backslash, at most 200 of it.
func names(p *[]string, what string) value {
	return many("list of "+what+"s", p, func(text string) (string, error) {
		odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
		if text == "" || len(text) > 200 || strings.ContainsFunc(text, odd) {
			return "", fmt.Errorf("%s cannot be the name of an %s: 1 to 200 visible ASCII characters, without space, quotation mark and backslash", quote(text), what)
		}
		return text, nil
	})
}

func words(p *[]string) value {
	return many("list of words", p, func(text string) (string, error) {
		if n := len([]rune(text)); n < 3 || n > 100 || strings.ContainsFunc(text, unicode.IsControl) {
			return "", fmt.Errorf("%s is no word to look for: 3 to 100 characters, none of them a control character", quote(text))
		}
		return text, nil
	})
}

func path(p *string) value {
	return single("path", func(text string) error {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%s is no path", quote(text))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// address is a host and port to listen on, or the word off if there is one.
func address(p *string, off string) value {
	form := "host:port"
	if off != "" {
		form += ", or " + off
	}
	return single(form, func(text string) error {
		if text == off && off != "" {
			*p = ""
			return nil
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return fmt.Errorf(`%s is no address to listen on: write "host:port", such as "localhost:8080" or ":8080"`, quote(text))
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%s is no port: a whole number from 0 to 65535", quote(port))
		}
		if host != "" && !isHost(host) {
			return fmt.Errorf("%s is neither a host name nor an IP address", quote(host))
		}
		*p = text
		return nil
	}, func() string {
		if *p == "" {
			return off
		}
		return *p
	})
}

func networks(p *[]netip.Prefix) value {
	return value{form: "list of networks (CIDR)", list: true, set: func(texts []string) error {
		var all []netip.Prefix
		for _, text := range texts {
			network, err := parseNetwork(text)
			if err != nil {
				return err
			}
			all = append(all, network)
		}
		*p = all
		return nil
	}, show: func() string {
		texts := make([]string, len(*p))
		for i, network := range *p {
			texts[i] = network.String()
		}
		return strings.Join(texts, ", ")
	}}
}

func ports(p *[]uint16) value {
	return value{form: "list of ports", list: true, set: func(texts []string) error {
		var all []uint16
		for _, text := range texts {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("%q is not a port: write numbers from 1 to 65535", text)
			}
			all = append(all, uint16(n))
		}
		*p = all
		return nil
	}, show: func() string {
		texts := make([]string, len(*p))
		for i, port := range *p {
			texts[i] = strconv.Itoa(int(port))
		}
		return strings.Join(texts, ", ")
	}}
}

func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf(`%s is no network: write "10.0.0.0/8", "fd00::/8" or a single address`, quote(text))
	case network.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%s is everyone: whoever it names may claim any address (name the proxies alone)", quote(text))
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its prefix: write %s", quote(text), network.Masked())
	}
	return network, nil
}

func rate(p *Rate) value {
	return single("count/duration", func(text string) error {
		count, every, found := strings.Cut(text, "/")
		burst, err := strconv.Atoi(count)
		if !found || err != nil {
			return fmt.Errorf(`%s is no rate: write a count and a time, such as "10/30s": ten at once, then one every 30 seconds`, quote(text))
		}
		d, err := parseDuration(every)
		if err != nil {
			return err
		}
		if burst < 1 || burst > 10_000 || d <= 0 || d > day {
			return fmt.Errorf("%s is out of range: 1 to 10000 at once, then one every 1ns to 1d", quote(text))
		}
		*p = Rate{Burst: burst, Every: d}
		return nil
	}, func() string { return fmt.Sprintf("%d/%s", p.Burst, formatDuration(p.Every)) })
}

func level(p *slog.Level) value {
	names := []string{"debug", "info", "warn", "error"}
	return single(choices(names), func(text string) error {
		if _, err := among(text, names); err != nil {
			return err
		}
		return p.UnmarshalText([]byte(text))
	}, func() string { return strings.ToLower(p.String()) })
}
