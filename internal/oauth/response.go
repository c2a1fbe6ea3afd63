package oauth

import (
	"net/url"
	"strings"
)

// A Response is what a client is answered, and where.
type Response struct {
	To         Destination
	Parameters []Parameter // in the order in which they are sent
	// Origins are those to which a form of ours may lead in the end: browsers hold the
	// addresses that a form leads to against the policy of its page.
	Origins []string
}

// A Parameter is one member of a response.
type Parameter struct{ Name, Value string }

// Address returns where a browser is sent with the answer in the query.
func (r Response) Address() string {
	query := make([]string, len(r.Parameters))
	for i, p := range r.Parameters {
		query[i] = p.Name + "=" + url.QueryEscape(p.Value)
	}
	mark := "?"
	if strings.Contains(r.To.URI, "?") {
		mark = "&"
	}
	return r.To.URI + mark + strings.Join(query, "&")
}

// respond adds what every response bears: state as it came, and who answers (RFC 9207).
func (p *Provider) respond(to Destination, c *Client, parameters ...Parameter) Response {
	if to.State != "" {
		parameters = append(parameters, Parameter{"state", to.State})
	}
	parameters = append(parameters, Parameter{"iss", p.config.Issuer})
	return Response{To: to, Parameters: parameters, Origins: origins(to.URI, c)}
}

// Refusal returns the response that tells the client of an error.
func (p *Provider) Refusal(e *RedirectError) Response {
	return p.respond(e.To, e.Client, Parameter{"error", e.Fault.Code}, Parameter{"error_description", e.description()})
}

// Origins returns those that a page may lead to on the way to the request's answer.
func (r *Request) Origins() []string { return origins(r.To.URI, r.Client) }

// origins returns the origin of the redirect address and that of the application's home,
// where applications send people on to. An address of a scheme of its own has that scheme.
func origins(uri string, c *Client) []string {
	var all []string
	for _, address := range []string{uri, c.HomeURI} {
		u, err := url.Parse(address)
		switch {
		case err != nil || u.Scheme == "":
			continue
		case u.Host == "":
			all = append(all, u.Scheme+":")
		default:
			all = append(all, u.Scheme+"://"+u.Host)
		}
	}
	if len(all) == 2 && all[0] == all[1] {
		all = all[:1]
	}
	return all
}
