package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/coatcheck/coatcheck/internal/wakeup"
)

// isHost reports whether host is an IP address, or a host name in ASCII as it is
// looked up: letters, digits, hyphens and dots.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		odd := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, odd) {
			return false
		}
	}
	// A last label of digits is what browsers take for an IPv4 address.
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.ContainsFunc(last, func(r rune) bool { return r < '0' || r > '9' })
}

// isLoopback reports whether host, without port and brackets, is this machine in
// the eyes of every browser.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// parseOrigin returns text if it is an origin as browsers write one in the
// Origin header (RFC 6454 §6.2), so that comparing bytes is comparing origins.
// Plain http is for loopback hosts only.
func parseOrigin(text string) (string, error) {
	bad := fmt.Errorf(`%s is no origin: write scheme and host, such as "https://auth.example.com"`, quote(text))
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", bad
	}
	if u.User != nil {
		return "", errors.New("a name or password has no place in it: it goes into every link and token")
	}
	host, err := idna.Lookup.ToASCII(u.Hostname())
	if addr, notIP := netip.ParseAddr(u.Hostname()); notIP == nil {
		host, err = addr.String(), nil
	}
	if err != nil || !isHost(host) || !isPort(u.Port()) {
		return "", bad
	}
	proper := u.Scheme + "://" + joinHost(host, properPort(u.Scheme, u.Port()))
	if text != proper {
		return "", fmt.Errorf("%s is not how browsers write this origin: write %s", quote(text), proper)
	}
	if u.Scheme == "http" && !isLoopback(host) {
		return "", fmt.Errorf("%s is plain http, which is for this machine only: whoever is on the way could take every credential (write https)", quote(text))
	}
	return proper, nil
}

// isPort reports whether port is absent or a number that a connection can have.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || (err == nil && n > 0 && strconv.FormatUint(n, 10) == port)
}

func properPort(scheme, port string) string {
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return ""
	}
	return port
}

func joinHost(host, port string) string {
	switch {
	case port != "":
		return net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

func origin(p *string) value {
	return single("origin", func(text string) (err error) {
		text, err = parseOrigin(text)
		if err == nil {
			*p = text
		}
		return err
	}, func() string { return *p })
}

func origins(p *[]string) value {
	return many("list of origins", p, func(text string) (string, error) {
		if text == "*" || text == "null" {
			return "", fmt.Errorf("%s would be anyone: name each origin", quote(text))
		}
		return parseOrigin(text)
	})
}

func domain(p *string) value {
	return single("domain name", func(text string) error {
		if text == "" {
			*p = ""
			return nil
		}
		plain := strings.ToLower(strings.TrimPrefix(text, "."))
		if _, err := netip.ParseAddr(plain); err == nil || !isHost(plain) {
			return fmt.Errorf("%s is no domain name", quote(text))
		}
		if text != plain {
			return fmt.Errorf("%s is not the plain form: write %s", quote(text), plain)
		}
		if suffix, _ := publicsuffix.PublicSuffix(plain); suffix == plain {
			return fmt.Errorf("%s is shared by many owners (a public suffix): browsers accept no cookie for it", quote(text))
		}
		*p = plain
		return nil
	}, func() string { return *p })
}

// database is sqlite:PATH or a PostgreSQL address. Its errors and its shown form
// never hold the password.
func database(p *string) value {
	return single("sqlite:PATH or postgres://…", func(text string) error {
		if file, ok := strings.CutPrefix(text, "sqlite:"); ok {
			if file == "" || strings.ContainsAny(file, "?#\x00\r\n") {
				return errors.New("sqlite: wants the path of a file after it, without ? and #")
			}
			*p = text
			return nil
		}
		if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
			return errors.New("this is no database: write sqlite:PATH or postgres://USER@HOST/NAME")
		}
		u, err := url.Parse(text)
		if err != nil {
			return errors.New("this is no PostgreSQL address: write postgres://USER@HOST/NAME (special characters in a password are written as %40 and the like)")
		}
		if len(strings.Trim(u.Path, "/")) == 0 && u.Query().Get("dbname") == "" {
			return errors.New("the address names no database: write postgres://USER@HOST/NAME")
		}
		*p = text
		return nil
	}, func() string { return hidePassword(*p) })
}

// redis is the address of a Redis, which nobody sees since it may hold a password.
func redis(p *string) value {
	return single("redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH", func(text string) error {
		if err := wakeup.CheckURL(text); err != nil {
			return fmt.Errorf("this is no Redis: %w", err)
		}
		*p = text
		return nil
	}, func() string {
		if *p == "" {
			return ""
		}
		return hidden
	})
}

// The query parameters of a PostgreSQL address that are secret.
var secretParameters = []string{"password", "sslpassword"}

// holdsPassword reports whether a database address has a password in it.
func holdsPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return true // it cannot be told, so better not to say
	}
	for _, name := range secretParameters {
		if u.Query().Has(name) {
			return true
		}
	}
	_, has := u.User.Password()
	return has
}

func hidePassword(text string) string {
	if strings.HasPrefix(text, "sqlite:") || !holdsPassword(text) {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	query := u.Query()
	for _, name := range secretParameters {
		if query.Has(name) {
			query.Set(name, hidden)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}
