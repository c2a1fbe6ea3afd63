package interop

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// packages brings the packages of package-lock.json, to the hash, where they are missing
// or others than it says.
var packages = sync.OnceValue(func() error {
	wanted, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		return err
	}
	mark := filepath.Join("node", "node_modules", ".installed")
	if have, err := os.ReadFile(mark); err == nil && string(have) == string(wanted) {
		return nil
	}
	install := exec.Command("npm", "ci")
	install.Dir = "node"
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("install the packages of the other clients: %w\n%s", err, out)
	}
	return os.WriteFile(mark, wanted, 0o600)
})

// A party is what a strict client is told of itself.
type party struct {
	Library   string            `json:"library"`
	Issuer    string            `json:"issuer"`
	ID        string            `json:"id"`
	Secret    string            `json:"secret,omitempty"`
	Method    string            `json:"method"`
	Key       any               `json:"key,omitempty"` // a private JWK
	Redirect  string            `json:"redirect,omitempty"`
	Scope     string            `json:"scope"`
	Algorithm string            `json:"algorithm,omitempty"` // of ID tokens
	Audience  string            `json:"audience,omitempty"`
	Machine   bool              `json:"machine"`
	More      map[string]string `json:"more,omitempty"`
}

// A verdict is what a strict client says in the end.
type verdict struct {
	Done *struct {
		Claims map[string]any
		Person map[string]any
		Access string
	}
	Failed, Stack string
	Open          string
}

// strict lets one of the libraries run all flows, with the browser where it asks for one.
func (s *server) strict(p party, b *browser) verdict {
	t := s.t
	t.Helper()
	if err := packages(); err != nil {
		t.Fatal(err)
	}
	p.Issuer = s.url
	cmd := exec.Command("node", "flow.mjs")
	cmd.Dir, cmd.Stderr = "node", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	v := exchange(t, in, lines, p)
	if v.Open != "" {
		back := b.open(v.Open).pass()
		if !b.watched(back.address.String()) {
			t.Fatalf("%s: the browser is at %s: %s", p.Library, back.address, back.words())
		}
		v = exchange(t, in, lines, map[string]string{"callback": back.address.String(), "form": back.posted.Encode()})
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", p.Library, err)
	}
	if v.Done == nil {
		t.Fatalf("%s, %s: %s\n%s", p.Library, p.Method, v.Failed, v.Stack)
	}
	return v
}

func exchange(t *testing.T, in io.Writer, out *bufio.Reader, words any) (v verdict) {
	t.Helper()
	if err := json.NewEncoder(in).Encode(words); err != nil {
		t.Fatal(err)
	}
	line, err := out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return v
}

// newKey makes a key for private_key_jwt, and a file with its public half.
func newKey(t *testing.T) (private jose.JSONWebKey, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private = jose.JSONWebKey{Key: key, KeyID: "one", Algorithm: "ES256", Use: "sig"}
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{private.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return private, file
}

// Two strict libraries of other people run the code flow with userinfo, refresh,
// introspection and revocation, by every way of showing who they are, with every algorithm
// of ID tokens, and answered by query and form_post.
func TestStrictClients(t *testing.T) {
	s := newServer(t)
	s.person(ada)
	key, jwks := newKey(t)
	for _, library := range []string{"openid-client", "oauth4webapi"} {
		for _, c := range []struct {
			name, method, algorithm string
			args                    []string
			more                    map[string]string
		}{
			{name: "basic", method: "client_secret_basic", algorithm: "RS256"},
			{name: "post", method: "client_secret_post", algorithm: "ES256", args: []string{"--auth-method", "client_secret_post", "--id-token-algorithm", "ES256"}},
			{name: "key", method: "private_key_jwt", algorithm: "EdDSA", args: []string{"--auth-method", "private_key_jwt", "--jwks", jwks, "--id-token-algorithm", "EdDSA"}},
			{name: "none", method: "none", algorithm: "RS256", args: []string{"--type", "spa"}},
			{name: "form_post", method: "client_secret_basic", algorithm: "RS256", more: map[string]string{"response_mode": "form_post"}},
			{name: "pairwise", method: "client_secret_basic", algorithm: "RS256", args: []string{"--pairwise"}},
		} {
			t.Run(library+"/"+c.name, func(t *testing.T) {
				s := &server{t: t, url: s.url, env: s.env, dir: s.dir}
				made := s.application(append([]string{"--name", c.name + " " + library}, c.args...)...)
				p := party{
					Library: library, ID: made.ID, Secret: made.Secret, Method: c.method, Redirect: callback,
					Scope: "openid email offline_access", Algorithm: c.algorithm, More: map[string]string{"prompt": "consent"},
				}
				for name, value := range c.more {
					p.More[name] = value
				}
				if c.method == "private_key_jwt" {
					p.Key = key
				}
				v := s.strict(p, newBrowser(t, callback))
				if v.Done.Person["email"] != ada || v.Done.Claims["sub"] != v.Done.Person["sub"] {
					t.Errorf("the client got %+v", v.Done)
				}
				if public := strings.HasPrefix(fmt.Sprint(v.Done.Claims["sub"]), "usr_"); public == (c.name == "pairwise") {
					t.Errorf("the subject is %v", v.Done.Claims["sub"])
				}
			})
		}
		t.Run(library+"/machine", func(t *testing.T) {
			s := &server{t: t, url: s.url, env: s.env, dir: s.dir}
			made := s.client("--name", "Robot", "--type", "machine", "--scope", "stock:read", "--audience", "https://stock.example")
			s.strict(party{
				Library: library, ID: made.ID, Secret: made.Secret, Method: "client_secret_basic",
				Scope: "stock:read", Audience: "https://stock.example", Machine: true,
			}, nil)
		})
	}
}
