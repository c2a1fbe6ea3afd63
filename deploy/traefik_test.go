package deploy_test

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type (
	router struct {
		Rule        string
		EntryPoints []string `yaml:"entryPoints"`
		Middlewares []string
		Service     string
		TLS         map[string]string `yaml:"tls"`
	}
	middleware struct {
		Headers struct {
			CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
		}
		ForwardAuth struct {
			Address             string
			AuthResponseHeaders []string `yaml:"authResponseHeaders"`
		} `yaml:"forwardAuth"`
		IPAllowList struct {
			SourceRange []string `yaml:"sourceRange"`
		} `yaml:"ipAllowList"`
	}
	balanced struct {
		LoadBalancer struct {
			Servers     []struct{ URL string }
			HealthCheck struct{ Path, Interval, Timeout string } `yaml:"healthCheck"`
		} `yaml:"loadBalancer"`
	}
	dynamic struct {
		HTTP struct {
			Routers     map[string]router
			Middlewares map[string]middleware
			Services    map[string]balanced
		} `yaml:"http"`
	}
)

// vouched are the headers by which the server says who sends a request.
func vouched(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("../internal/web/forwardauth.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "var vouched = ")
	list, _, _ = strings.Cut(list, "\n}")
	var names []string
	for _, m := range regexp.MustCompile(`"(X-Auth-\w+)"`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	if len(names) < 4 {
		t.Fatalf("found %v", names)
	}
	return names
}

// Traefik has not run this recipe. What can be said without it: names lead somewhere,
// what is asked for is what the server answers, and whatever leads to the application
// takes away what a client claims to be, and asks.
func TestTraefikRecipe(t *testing.T) {
	c := strictly[dynamic](t, "traefik/coatcheck.yaml").HTTP
	for name, r := range c.Routers {
		if _, found := c.Services[r.Service]; !found || len(r.EntryPoints) == 0 || r.TLS == nil {
			t.Errorf("router %s: %+v", name, r)
		}
		for _, m := range r.Middlewares {
			if _, found := c.Middlewares[m]; !found {
				t.Errorf("router %s names %s, which is not there", name, m)
			}
		}
		if r.Service != "application" {
			continue
		}
		if len(r.Middlewares) != 2 || r.Middlewares[0] != "no-forgery" || c.Middlewares[r.Middlewares[1]].ForwardAuth.Address == "" {
			t.Errorf("router %s goes through %v", name, r.Middlewares)
		}
	}
	want := vouched(t)
	for _, name := range want {
		for _, spelt := range []string{name, strings.ReplaceAll(name, "-", "_")} {
			if value, taken := c.Middlewares["no-forgery"].Headers.CustomRequestHeaders[spelt]; !taken || value != "" {
				t.Errorf("%s is not taken away", spelt)
			}
		}
	}
	for _, name := range []string{"signed-in", "signed-in-or-sent-away"} {
		ask := c.Middlewares[name].ForwardAuth
		u, err := url.Parse(ask.Address)
		if err != nil || u.Path != "/v1/forward-auth" || (u.RawQuery == "redirect=1") != (name == "signed-in-or-sent-away") {
			t.Errorf("%s asks %s (%v)", name, ask.Address, err)
		}
		if got := slices.Sorted(slices.Values(ask.AuthResponseHeaders)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s passes %v on, want %v", name, got, want)
		}
	}
	if check := c.Services["coatcheck"].LoadBalancer.HealthCheck; check.Path != "/readyz" {
		t.Errorf("nodes are asked at %s", check.Path)
	}
	if rule := c.Routers["closed"].Rule; !strings.Contains(rule, "Path(`/v1/forward-auth`)") || c.Routers["closed"].Middlewares[0] != "nobody" {
		t.Errorf("/v1/forward-auth is open: %+v", c.Routers["closed"])
	}
}

// Each recipe of a gateway deals with every header by which the server says who it is,
// so that a new one is not forgotten in some of them.
func TestEveryRecipeKnowsEveryHeader(t *testing.T) {
	for _, file := range []string{"nginx/coatcheck.conf", "caddy/Caddyfile", "traefik/coatcheck.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range vouched(t) {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s does not know %s", file, name)
			}
		}
		if !strings.Contains(string(text), "/v1/forward-auth") {
			t.Errorf("%s asks nobody", file)
		}
	}
}
