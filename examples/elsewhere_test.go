package examples_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/testauth"
)

// The program in another module verifies tokens of a real server.
func TestElsewhereWithThisServer(t *testing.T) {
	server := testauth.New(t)
	ada := server.SignInFor("ada@example.com", "orders", "read")
	grace := server.SignInFor("grace@example.com", "orders", "read")
	p := startElsewhere(t, server.URL, "orders", server.APIKey)
	p.expect(ada.AccessToken, "accepted "+ada.UserID+" "+ada.SessionID)
	p.expect(grace.AccessToken, "accepted "+grace.UserID+" "+grace.SessionID)
	p.expect(spoilt(ada.AccessToken), "refused: not valid here")
	p.expect(server.SignIn("ada@example.com").AccessToken, "refused: not valid here") // it is for the server itself
	server.End(ada.SessionID)
	p.expectSoon(ada.AccessToken, "refused: the session has ended")
	p.expect(grace.AccessToken, "accepted "+grace.UserID+" "+grace.SessionID)
}

// It verifies tokens of an issuer that speaks only what the contract says, too.
func TestElsewhereWithStandIn(t *testing.T) {
	issuer := newStandIn(t)
	ada := issuer.token("usr_ada", "ses_1", "orders")
	grace := issuer.token("usr_grace", "ses_2", "orders")
	p := startElsewhere(t, issuer.url, "orders", standInKey)
	p.expect(ada, "accepted usr_ada ses_1")
	p.expect(spoilt(ada), "refused: not valid here")
	p.expect(issuer.token("usr_ada", "ses_1", "billing"), "refused: not valid here")
	issuer.end("ses_1")
	p.expectSoon(ada, "refused: the session has ended")
	p.expect(grace, "accepted usr_grace ses_2")
}

// spoilt returns the token with another character in the middle of its signature.
func spoilt(token string) string {
	at := len(token) - 40
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

// A program is the one in the other module, running.
type program struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// startElsewhere runs the program from its own module, without network and without
// any module but ours.
func startElsewhere(t *testing.T, issuer, audience, apiKey string) *program {
	t.Helper()
	cmd := exec.Command("go", "run", ".", issuer, audience)
	cmd.Dir = "elsewhere"
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "COATCHECK_API_KEY="+apiKey)
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() {
		_ = in.Close() // upon which it ends
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v", err)
		}
		if sums, err := os.ReadFile("elsewhere/go.sum"); err == nil && len(sums) > 0 {
			t.Errorf("the program needed go.sum:\n%s", sums)
		}
	})
	return &program{t, in, bufio.NewScanner(out)}
}

// ask gives the program a token and returns what it says.
func (p *program) ask(token string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, token+"\n"); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatal("the program said nothing")
	}
	return p.out.Text()
}

func (p *program) expect(token, want string) {
	p.t.Helper()
	if got := p.ask(token); got != want {
		p.t.Errorf("the program says %q, want %q", got, want)
	}
}

// expectSoon asks again and again for as long as the token is accepted.
func (p *program) expectSoon(token, want string) {
	p.t.Helper()
	began := time.Now()
	for time.Since(began) < 15*time.Second {
		if got := p.ask(token); got == want {
			p.t.Logf("refused %s after the end", time.Since(began).Round(time.Millisecond))
			return
		} else if !strings.HasPrefix(got, "accepted ") {
			p.t.Fatalf("the program says %q, want %q", got, want)
		}
	}
	p.t.Errorf("still accepted after %s", time.Since(began))
}
