package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A server that is killed while it tells an application of sign-outs loses none: the next
// one tells of those that were under way, too, when their lease is over (V-55).
func TestNoticesSurviveAKill(t *testing.T) {
	t.Parallel()
	const people = 20
	var answers atomic.Bool
	told := make(chan string, 10*people)
	hung := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sid := sidOf(r.PostFormValue("logout_token"))
		told <- sid
		if !answers.Load() {
			<-hung
		}
	}))
	defer receiver.Close()
	defer close(hung)
	k := &killable{t: t, dir: t.TempDir()}
	want := k.signOut(receiver.URL+"/logout", people)

	first := k.serve()
	underWay := map[string]bool{}
	for len(underWay) < 3 {
		underWay[<-told] = true
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	answers.Store(true)

	second := k.serve()
	seen := map[string]bool{}
	over := time.After(2 * time.Minute)
	for len(seen) < people {
		select {
		case sid := <-told:
			if !want[sid] {
				t.Fatalf("told of %q, which nobody has ended", sid)
			}
			seen[sid] = true
		case <-over:
			t.Fatalf("told of %d sign-outs of %d", len(seen), people)
		}
	}
	for sid := range underWay {
		if !seen[sid] {
			t.Errorf("%s was under way, and nobody was told of it again", sid)
		}
	}
	_ = second.Process.Kill()
	_ = second.Wait() // it was killed
}

// sidOf reads what a logout token is about.
func sidOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		SessionID string `json:"sid"`
	}
	_ = json.Unmarshal(payload, &claims) // what is none has no sid
	return claims.SessionID
}

// signOut makes a database in which so many people have signed out of an application that
// is told of it there, and returns what it is to be told.
func (k *killable) signOut(address string, people int) map[string]bool {
	k.t.Helper()
	config, err := app.Configure(map[string]string{"database": "sqlite:" + filepath.Join(k.dir, "coatcheck.db")})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx := context.Background()
	a, err := app.New(ctx, app.Options{Config: config})
	if err != nil {
		k.t.Fatal(err)
	}
	defer a.Close()
	client, _, err := a.Provider.Clients.Add(ctx, oauth.Client{
		Name: "Shop", Type: oauth.Web, RedirectURIs: []string{"https://shop.example/callback"}, BackchannelLogoutURI: address, Scopes: []string{"openid"}, IDAlgorithm: "ES256",
	}, "cli", audit.Origin{})
	if err != nil {
		k.t.Fatal(err)
	}
	added, err := a.Store.AddUser(ctx, account.User{ID: "usr_00000000000000000000000001", Email: "ada@example.com", EmailKey: "ada@example.com"}, "", audit.New(audit.UserAdded, audit.OK, audit.Origin{}))
	if err != nil {
		k.t.Fatal(err)
	}
	grants := map[string]bool{}
	now := time.Now().Add(time.Second)
	for i := range people {
		s := session.Session{ID: fmt.Sprintf("ses_%026d", i), UserID: added.ID, CreatedAt: now, LastSeenAt: now, Idle: time.Hour, ExpiresAt: now.Add(time.Hour), AMR: []string{"pwd"}, ACR: "aal1"}
		g := session.Grant{ID: fmt.Sprintf("grt_%026d", i), SessionID: s.ID, ClientID: client.ID, CreatedAt: now}
		if err := a.Store.Add(ctx, s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})); err != nil {
			k.t.Fatal(err)
		}
		grants[g.ID] = true
	}
	ended, err := a.Store.End(ctx, session.Ending{Kind: feed.Session, UserID: added.ID}, audit.New(audit.SessionsEnded, audit.OK, audit.Origin{}))
	if err != nil || ended != people {
		k.t.Fatalf("%d sessions were ended: %v", ended, err)
	}
	return grants
}

// serve starts a server over the database.
func (k *killable) serve() *exec.Cmd {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	var both bytes.Buffer
	cmd := exec.Command(self)
	cmd.Args = []string{"coatcheck", "serve", "--listen", "127.0.0.1:0"}
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.dir, &both, &both
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be over
		_ = cmd.Wait()         // likewise
		if k.t.Failed() {
			k.t.Logf("the server said:\n%s", &both)
		}
	})
	return cmd
}
