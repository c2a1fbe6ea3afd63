package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/coatcheck/coatcheck/internal/oauth"
)

// clientPage is how many clients the doctor reads at a time.
const clientPage = 500

// clients looks at what applications were allowed that is less safe than it could be.
func (d *doctor) clients(ctx context.Context, registry *oauth.Registry) {
	secrets, count := 0, 0
	for after := ""; ; {
		page, err := registry.List(ctx, after, clientPage)
		if err != nil {
			d.find("clients", Serious, "The registered clients cannot be read: "+err.Error()+".", d.databaseAdvice())
			return
		}
		for i := range page {
			c := &page[i]
			after, count = c.ID, count+1
			if c.AuthMethod == oauth.AuthBasic || c.AuthMethod == oauth.AuthPost {
				secrets++
			}
			d.application(c)
		}
		if len(page) < clientPage {
			break
		}
	}
	switch {
	case count == 0:
		d.find("clients", Fine, "No application is registered.", "")
	case secrets == 0:
		d.find("clients", Fine, fmt.Sprintf("%s registered, none with a secret.", applications(count)), "")
	default:
		d.find("clients", Fine, fmt.Sprintf("%s registered, %d of them with a secret: coatcheck client rotate-secret replaces one, and private_key_jwt needs none.", applications(count), secrets), "")
	}
}

func applications(n int) string {
	if n == 1 {
		return "1 application is"
	}
	return fmt.Sprintf("%d applications are", n)
}

// application looks at one of them.
func (d *doctor) application(c *oauth.Client) {
	name := fmt.Sprintf("%s (%s)", c.Name, c.ID)
	if c.WithoutPKCE && !c.Disabled {
		d.find("clients", Note, name+" may leave out PKCE, which keeps a code that somebody has stolen from being of use.",
			"Almost every library knows PKCE. When its does: coatcheck client change "+c.ID+" --without-pkce=false.")
	}
	if !d.config.Loopback() && c.Type != oauth.Native && !c.Disabled {
		for _, uri := range c.RedirectURIs {
			if strings.HasPrefix(uri, "http://") {
				d.find("clients", Note, name+" may have codes sent to "+uri+", by plain http at whatever machine the browser is on.",
					"That is for developing. Otherwise give the addresses that stay: coatcheck client change "+c.ID+" --redirect-uri https://….")
			}
		}
	}
	if c.AccessLifetime > d.config.Token.Access {
		d.find("clients", Note, fmt.Sprintf("%s asks for access tokens of %s, and token.access makes them %s.", name, c.AccessLifetime, d.config.Token.Access),
			"Raise token.access, which is the longest for all, or change the client with --access-lifetime.")
	}
}
