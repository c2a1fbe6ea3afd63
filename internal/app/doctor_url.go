package app

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// publicURL asks the running server by the address that browsers use.
func (d *doctor) publicURL(ctx context.Context) {
	if host, _, err := net.SplitHostPort(d.config.Listen); err == nil && d.config.Loopback() && !loopback.Is(host) {
		d.find("public_url", Note, "The server listens for other machines ("+d.config.Listen+"), but public_url is for this one only.",
			"If other machines use it, set public_url to the https origin that their browsers show. In a container whose port is published on this machine nothing is amiss.")
	}
	answer, ok := d.askMetadata(ctx)
	if !ok {
		return
	}
	d.find("public_url", Fine, d.config.PublicURL+" leads to the server.", "")
	d.hostName(ctx)
	d.serverClock(answer)
	d.proxies(ctx, answer)
}

// A reply is what somebody answered at public_url.
type reply struct {
	status   int
	header   http.Header
	location *url.URL // where a redirect leads; nil: nowhere
	body     []byte
}

// ask sends one request to the server, and follows no redirect.
func (d *doctor) ask(ctx context.Context, path string, header http.Header) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.config.PublicURL+path, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	client := http.Client{}
	if d.client != nil {
		client = *d.client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	found := &reply{status: answer.StatusCode, header: answer.Header}
	if to, err := answer.Location(); err == nil {
		found.location = to
	}
	found.body, err = io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return found, err
}

// askMetadata finds out whether public_url leads to this server, under this name.
func (d *doctor) askMetadata(ctx context.Context) (*reply, bool) {
	own := d.config.PublicURL
	answer, err := d.ask(ctx, "/.well-known/oauth-authorization-server", nil)
	if err != nil {
		do := "If the server is not running, start it with coatcheck serve. If it is, look at the name in DNS, the firewall and the proxy in front of it."
		var authority x509.UnknownAuthorityError
		var name x509.HostnameError
		if errors.As(err, &authority) || errors.As(err, &name) {
			do = "Browsers would show a warning. Give the server or the proxy a certificate for this name, with its whole chain."
		}
		d.find("public_url", Serious, fmt.Sprintf("%s cannot be reached from here: %v.", own, err), do)
		return nil, false
	}
	if answer.status >= 300 && answer.status < 400 {
		to := answer.location
		if to == nil || to.Scheme+"://"+to.Host == own {
			d.find("public_url", Serious, own+" answers with a redirect, so API calls do not reach the server.", "Let the proxy pass requests on instead of redirecting them.")
			return nil, false
		}
		d.find("public_url", Serious, fmt.Sprintf("%s sends browsers to %s://%s, so that is the origin that they use.", own, to.Scheme, to.Host),
			fmt.Sprintf("Set public_url = %q, or let the proxy pass requests on instead of redirecting them.", to.Scheme+"://"+to.Host))
		return nil, false
	}
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	if answer.status != http.StatusOK || json.Unmarshal(answer.body, &metadata) != nil || metadata.Issuer == "" {
		d.find("public_url", Serious, fmt.Sprintf("Something answers at %s (status %d), but not Coatcheck.", own, answer.status),
			"Look what listens there, and whether the proxy passes every path on, /.well-known/ and /v1/ included.")
		return nil, false
	}
	if metadata.Issuer != own {
		d.find("public_url", Serious, fmt.Sprintf("The server at %s calls itself %s.", own, metadata.Issuer),
			"Give the server and this command the same configuration: the server has to be started anew after a change. Its public_url must be what browsers show.")
		return nil, false
	}
	return answer, true
}

// hostName finds out whether the name that browsers use arrives at the server,
// which refuses pages and calls for any other.
func (d *doctor) hostName(ctx context.Context) {
	answer, err := d.ask(ctx, "/v1/session", nil)
	if err == nil && answer.status == http.StatusMisdirectedRequest {
		d.find("public_url", Serious, "The name "+d.config.Host()+" does not arrive at the server: what passes requests on sends another Host, so every page is refused.",
			"Let the proxy pass the name on. nginx: proxy_set_header Host $http_host; others do it unless told not to.")
	}
}

// serverClock compares this machine's clock with the one of whoever answered.
func (d *doctor) serverClock(answer *reply) {
	date, err := http.ParseTime(answer.header.Get("Date"))
	if err != nil {
		return
	}
	const bound = 5 * time.Second // the header counts whole seconds
	if apart := date.Sub(d.now()); apart.Abs() > bound {
		d.find("clock", Serious, fmt.Sprintf("The clock of what answers at public_url is %s from this machine's.", apart.Round(time.Second)),
			"Let both machines keep their time (chrony, systemd-timesyncd).")
	}
}

// proxies finds out whether the server believes what passes requests on to it.
// That something does is told by what cannot be otherwise: https although the
// server speaks plain http, or a header that the server never sends. Another port
// may also be a plain redirection of ports, which hides nobody.
//
// Whether it is believed says the running server itself: it refuses to judge an
// unsafe request for a proxy that it does not know.
func (d *doctor) proxies(ctx context.Context, answer *reply) {
	between := d.config.Secure() && d.config.TLS.Certificate == ""
	for _, name := range []string{"Via", "Server"} {
		between = between || answer.header.Get(name) != ""
	}
	moved := portOf(d.config.PublicURL) != listenPort(d.config.Listen)
	if !between && !moved {
		return
	}
	probe, err := d.ask(ctx, "/v1/forward-auth", http.Header{"X-Forwarded-Method": {http.MethodPost}})
	if err != nil {
		return
	}
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(probe.body, &problem) // any other answer has no such code
	unknown := probe.status == http.StatusForbidden && problem.Code == "proxy_not_trusted"
	const blind = "so all people seem to come from one address: they share one allowance of tries, and the audit does not say from where they came."
	const advice = "Set proxies to the network of the proxy, for example proxies = [\"10.0.0.0/8\"], and let it send X-Forwarded-For. Start the server anew."
	switch {
	case between && (unknown || len(d.config.Proxies) == 0):
		d.find("proxies", Serious, "A proxy passes requests on to the server, which does not believe it, "+blind, advice)
	case unknown:
		d.find("proxies", Note, "public_url and listen have different ports. If a proxy is in between, the server does not believe it, "+blind, advice+" If it is only a port that is redirected, nothing is amiss.")
	default:
		d.find("proxies", Fine, "The server believes the proxy that passes requests on to it.", "")
	}
}

func portOf(origin string) string {
	u, err := url.Parse(origin)
	switch {
	case err != nil:
		return ""
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func listenPort(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
