package web_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// addClient does what "coatcheck client add" does. The secret is captured under the
// name of the id with _secret behind it.
func (r *run) addClient(words []string) error {
	if len(words) < 3 || words[len(words)-2] != "->" {
		return errors.New("client takes TYPE name=value … -> $name")
	}
	c, err := clientOf(words[0], words[1:len(words)-2])
	if err != nil {
		return err
	}
	added, secret, err := r.app.Provider.Clients.Add(context.Background(), c, "cli", audit.Origin{})
	if err != nil {
		return err
	}
	name := words[len(words)-1]
	r.vars[name], r.vars[name+"_secret"] = added.ID, secret
	return nil
}

// clientOf reads what a registration says, in the words of the client metadata.
func clientOf(kind string, words []string) (c oauth.Client, err error) {
	c = oauth.Client{Type: oauth.Type(kind), Name: "A client"}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "name":
			c.Name = value
		case "redirect_uri":
			c.RedirectURIs = append(c.RedirectURIs, value)
		case "post_logout_redirect_uri":
			c.PostLogoutRedirectURIs = append(c.PostLogoutRedirectURIs, value)
		case "backchannel_logout_uri":
			c.BackchannelLogoutURI = value
		case "home_uri":
			c.HomeURI = value
		case "policy_uri":
			c.PolicyURI = value
		case "terms_uri":
			c.TermsURI = value
		case "auth_method":
			c.AuthMethod = oauth.AuthMethod(value)
		case "grant":
			c.Grants = append(c.Grants, value)
		case "scope":
			c.Scopes = append(c.Scopes, strings.Fields(value)...)
		case "audience":
			c.Audiences = append(c.Audiences, value)
		case "access":
			c.AccessLifetime, err = time.ParseDuration(value)
		case "id_token_algorithm":
			c.IDAlgorithm = jwt.Algorithm(value)
		case "jwks":
			c.JWKS, err = os.ReadFile(value)
		case "pairwise":
			c.Pairwise = true
		case "sector":
			c.Sector = value
		case "trusted":
			c.Trusted = true
		case "without_pkce":
			c.WithoutPKCE = true
		default:
			err = fmt.Errorf("nothing is known of %q", key)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
