package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// A pool is some nodes on one database, behind Caddy under one name.
type pool struct {
	t      *testing.T
	nodes  []*container
	ready  []string // the address of each node's /readyz
	meters []string // of its metrics
	client *http.Client
}

const publicURL = "https://auth.example.com" // not of this machine, so a node that stops waits for load balancers

func newPool(t *testing.T, nodes int) *pool {
	p, database, secret := &pool{t: t}, storetest.Postgres(t), newSecret()
	var addresses []string
	for range nodes {
		address, meter := freeAddress(t), freeAddress(t)
		p.nodes = append(p.nodes, &container{binary: binary(t), dir: t.TempDir(), env: []string{
			"COATCHECK_LISTEN=" + address, "COATCHECK_METRICS_LISTEN=" + meter, "COATCHECK_PUBLIC_URL=" + publicURL, "COATCHECK_VERIFY_EMAIL=optional",
			"COATCHECK_PROXIES=127.0.0.1/32", "COATCHECK_DATABASE=" + database, "COATCHECK_SECRET=" + secret,
		}})
		p.ready, p.meters = append(p.ready, "http://"+address+"/readyz"), append(p.meters, "http://"+meter+"/metrics")
		addresses = append(addresses, address)
	}
	_, port, _ := net.SplitHostPort(freeAddress(t))
	listen := net.JoinHostPort("127.0.0.1", port)
	startCaddy(t, "caddy/nodes.caddyfile", listen, []string{"SITE=http://auth.example.com:" + port, "NODES=" + strings.Join(addresses, " ")}, nil)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, listen)
	}
	p.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8}}
	return p
}

// serve starts a node, and returns when it is ready, what stops it.
func (p *pool) serve(node int) (stop func()) {
	p.t.Helper()
	stop = p.nodes[node].start(p.t, "serve")
	eventually(p.t, fmt.Sprintf("node %d is ready", node), func() bool { return statusOf(p.ready[node]) == http.StatusOK })
	return stop
}

// call sends one request through Caddy, once.
func (p *pool) call(method, path, bearer string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(method, "http://auth.example.com"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if method == http.MethodGet {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	return err
}

type tokens struct {
	Tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
}

// busy renews and shows the session of one person until stopped is closed, and returns
// how often, or what failed.
func (p *pool) busy(t tokens, stopped <-chan struct{}) (int, error) {
	for n := 0; ; n++ {
		select {
		case <-stopped:
			return n, nil
		default:
		}
		var who struct{ Via string }
		if err := p.call("GET", "/v1/session", t.Tokens.Access, nil, &who); err != nil {
			return n, err
		}
		if err := p.call("POST", "/v1/token/refresh", "", map[string]string{"refresh_token": t.Tokens.Refresh}, &t); err != nil {
			return n, err
		}
	}
}

// The recipe for many nodes under the real Caddy (D-11): each node is stopped and
// started anew while people use them, and no request of anybody fails, although nobody
// tries again. Afterwards every node has served.
func TestCaddyBeforeNodes(t *testing.T) {
	p := newPool(t, 2)
	stops := []func(){p.serve(0), p.serve(1)}
	eventually(t, "caddy passes requests on", func() bool { return p.call("GET", "/healthz", "", nil, new(any)) == nil })
	stopped, begun := make(chan struct{}), []tokens{}
	for n := range 12 {
		var signedUp tokens
		err := p.call("POST", "/v1/sign-up", "", map[string]string{"email": fmt.Sprintf("ada%d@example.com", n), "password": password, "transport": "token"}, &signedUp)
		if err != nil {
			t.Fatal(err)
		}
		begun = append(begun, signedUp)
	}
	var all sync.WaitGroup
	for _, person := range begun {
		all.Go(func() {
			n, err := p.busy(person, stopped)
			if err != nil || n == 0 {
				t.Errorf("after %d rounds: %v", n, err)
			}
		})
	}
	for node, stop := range stops {
		stop()
		stops[node] = p.serve(node)
		eventually(t, "caddy sends requests there again", func() bool { return p.served(node) > 20 })
	}
	close(stopped)
	all.Wait()
}

// served returns how many requests a node has answered since its start.
func (p *pool) served(node int) int {
	res, err := http.Get(p.meters[node])
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0
	}
	sum := 0
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), `coatcheck_request_seconds_count{`); found && !strings.Contains(rest, "/readyz") {
			_, number, _ := strings.Cut(rest, "} ")
			n, _ := strconv.Atoi(number) // a counter
			sum += n
		}
	}
	return sum
}
