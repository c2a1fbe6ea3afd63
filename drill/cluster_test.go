package drill

// c := startCluster(t, clusterOptions{}) is three nodes on one durable PostgreSQL, a
// proxy (c.Nodes[i].Line) between each and the database, and four services that
// follow one or several nodes. c.client asks the nodes in turn.
// startClusterCrowd lets people loose on it; c.settle ends what nobody knows.

import (
	"bytes"
	"database/sql"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/coatcheck/coatcheck/internal/daemon"
)

// clusterOptions say how a cluster differs from the usual one.
type clusterOptions struct {
	// Nodes is how many there are: 3.
	Nodes int
	// Settings by their name in docs/configuration.md, for every node.
	Settings map[string]string
	// Connections is how many there are to each node at most, as from a load balancer:
	// the other requests wait there. 0: as many as requests.
	Connections int
	// Env is added to the environment of the node of that number.
	Env func(node int) []string
}

// A cluster is several nodes of one issuer. It is gone when the test ends. One at a
// time: they share a PostgreSQL, which a drill may stop.
type cluster struct {
	*client  // asks the nodes in turn
	Nodes    []*clusterNode
	Services []*service // four: two that follow one node each, and two that follow all in turn
	// Roads lie between the services and the nodes, in their order.
	Roads []*proxy
	// Database is the server behind the nodes, and Admin a connection of an operator.
	Database *daemon.Postgres
	Admin    *sql.DB

	balancer *balancer
	settings map[string]string // of all nodes, with the database as an operator reaches it
}

// A clusterNode is a node with its own way to the database.
type clusterNode struct {
	*watchedNode
	Line *proxy
}

// postgres is the one that all clusters of this binary use, with its own defaults.
var postgres = sync.OnceValues(func() (*daemon.Postgres, error) {
	return daemon.StartPostgres(daemon.PostgresOptions{Durable: true})
})

var clusters atomic.Int64

// startCluster returns when all nodes and services are ready.
func startCluster(t *testing.T, o clusterOptions) *cluster {
	t.Helper()
	c := newCluster(t, o)
	var all sync.WaitGroup
	for _, n := range c.Nodes {
		n.Launch(t)
	}
	for _, n := range c.Nodes {
		n.WaitReady(t, 30*time.Second)
	}
	everywhere := c.addresses()
	for i := range 4 {
		to := everywhere
		if i < 2 {
			to = everywhere[i%len(everywhere) : i%len(everywhere)+1]
		}
		c.Roads = append(c.Roads, startProxy(t, to...))
	}
	c.Services = make([]*service, len(c.Roads))
	for i, road := range c.Roads {
		all.Go(func() { c.Services[i] = startService(t, c.Nodes[0].node, road.Address()) })
	}
	all.Wait()
	return c
}

// newCluster is startCluster without the start: the database and the API key are
// there, no node runs, and there are no services.
func newCluster(t *testing.T, o clusterOptions) *cluster {
	t.Helper()
	c := &cluster{}
	name := "cluster_" + strconv.FormatInt(clusters.Add(1), 10)
	c.openDatabase(t, name)
	issuer, secret := "http://"+freeAddress(t), newKey()+newKey()
	dir := t.TempDir()
	c.balancer = &balancer{}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	for i := range o.Nodes {
		line, gauges := startProxy(t, c.Database.Socket()), freeAddress(t)
		settings := map[string]string{
			"database": c.Database.URLAt(line.Address(), name), "secret": secret,
			"metrics.listen": gauges, "log.level": "info",
		}
		maps.Copy(settings, o.Settings)
		options := nodeOptions{Dir: dir, Issuer: issuer, Settings: settings}
		if o.Env != nil {
			options.Env = o.Env(i)
		}
		n := &clusterNode{&watchedNode{node: newNode(t, options), gauges: gauges}, line}
		c.Nodes = append(c.Nodes, n)
		n.http.Transport.(*http.Transport).MaxConnsPerHost = o.Connections
		c.balancer.nodes = append(c.balancer.nodes, n.http.Transport)
	}
	c.settings = maps.Clone(o.Settings)
	if c.settings == nil {
		c.settings = map[string]string{}
	}
	c.settings["database"], c.settings["secret"], c.settings["public_url"] = c.Database.URL(name), secret, issuer
	c.client = newClient(issuer)
	c.client.http.Transport = c.balancer
	c.client.APIKey = c.Nodes[0].APIKey
	return c
}

// openDatabase makes an empty database, whose server is started again if a drill
// has left it stopped.
func (c *cluster) openDatabase(t *testing.T, name string) {
	t.Helper()
	var err error
	if c.Database, err = postgres(); err != nil {
		t.Fatalf("PostgreSQL could not be started; \"make test\" installs what is missing: %v", err)
	}
	if err := c.Database.Create(name); err != nil {
		t.Fatal(err)
	}
	if c.Admin, err = sql.Open("pgx", c.Database.URL(name)); err != nil {
		t.Fatal(err)
	}
	c.Admin.SetMaxIdleConns(0) // so that none is left of a server that was stopped
	t.Cleanup(func() {
		_ = c.Admin.Close()    // nothing is kept in it
		_ = c.Database.Start() // fails if it runs
		if err := c.Database.Drop(name); err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) addresses() (all []string) {
	for _, n := range c.Nodes {
		all = append(all, n.Address)
	}
	return all
}

// ready waits until every node and every service says that it is.
func (c *cluster) ready(t *testing.T, within time.Duration) {
	t.Helper()
	until(t, within, "every node is ready", func() bool {
		for _, n := range c.Nodes {
			if !n.Ready() {
				return false
			}
		}
		return true
	})
	until(t, within, "every service hears", func() bool {
		for _, s := range c.Services {
			if s.Staleness() > 3*time.Second {
				return false
			}
		}
		return true
	})
}

// question asks the database for one number, as an operator.
func (c *cluster) question(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	if err := c.Admin.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// settle says that what nobody knows of the calls so far has happened by now, or
// never will: it waits until the database has done with every transaction that
// began before, and no proxy holds anything back any more.
func (c *cluster) settle(t *testing.T, r *recorder) {
	t.Helper()
	const unfinished = `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < to_timestamp($1::BIGINT / 1e6)`
	asked := r.now()
	since := c.question(t, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1e6 AS BIGINT)`)
	until(t, 20*time.Second, "the database has done what it was told before", func() bool {
		return c.question(t, unfinished, since) == 0
	})
	r.settleBefore(asked)
}

// allServed fails the test for a node that answered nobody since it started. R-8
func (c *cluster) allServed(t *testing.T) {
	t.Helper()
	for i, n := range c.Nodes {
		served := 0.0
		for labels, value := range n.gaugesOf(t, "coatcheck_request_seconds_count") {
			if !strings.Contains(labels, `"/readyz"`) {
				served += value
			}
		}
		if served == 0 {
			t.Errorf("R-8 node %d has served nobody", i)
		}
	}
}

// gaugesOf reads the figures of one name, by their labels.
func (w *watchedNode) gaugesOf(t *testing.T, name string) map[string]float64 {
	t.Helper()
	response, err := http.Get("http://" + w.gauges + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		labels, ours := strings.CutPrefix(strings.TrimSpace(line), name)
		at := strings.LastIndexByte(labels, ' ')
		if !ours || at < 0 || at > 0 && labels[0] != '{' {
			continue
		}
		if found[labels[:at]], err = strconv.ParseFloat(labels[at+1:], 64); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// A balancer sends each request to the next node. Like a client of its own it tries
// once more, at another node, what got no answer or 503 and may be sent twice: what
// changes nothing, and what bears an Idempotency-Key.
type balancer struct {
	nodes   []http.RoundTripper
	turn    atomic.Uint64
	Retried atomic.Int64
}

func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close() // read to its end
		if err != nil {
			return nil, err
		}
	}
	again := r.Method == http.MethodGet || r.Header.Get("Idempotency-Key") != ""
	for {
		try := r.Clone(r.Context())
		if r.Body != nil {
			try.Body = io.NopCloser(bytes.NewReader(body))
		}
		response, err := b.nodes[b.turn.Add(1)%uint64(len(b.nodes))].RoundTrip(try)
		fine := err == nil && response.StatusCode != http.StatusServiceUnavailable
		if fine || !again || r.Context().Err() != nil {
			return response, err
		}
		if err == nil {
			_ = response.Body.Close() // the other answer counts
		}
		again = false
		b.Retried.Add(1)
	}
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (b *balancer) CloseIdleConnections() {
	for _, n := range b.nodes {
		n.(*http.Transport).CloseIdleConnections()
	}
}

// checkWhole asks the database all questions that find a step done by half. I-4,
// I-5, I-11
func (c *cluster) checkWhole(t *testing.T) {
	t.Helper()
	for what, question := range whole {
		if what == "foreign keys" || what == "integrity check" { // of SQLite alone
			continue
		}
		for _, found := range answers(t, c.Admin, question) {
			t.Errorf("in the database, %s: %s", what, found)
		}
	}
}
