package drill

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/revocation"
)

// longLived are settings with which tokens outlive the longest drill.
var longLived = map[string]string{"token.access": "1h"}

// startClusterCrowd lets that many people loose on a cluster. They ask another node
// each time; a follower reads the log of each node, and one that of all in turn.
func startClusterCrowd(t *testing.T, c *cluster, people int) *crowd {
	t.Helper()
	w := witness{c.client, newRecorder()}
	w.Late = revocation.FreshFor
	all := &crowd{witness: w, services: c.Services, people: people, reachable: func() bool { return true }}
	all.rest = func(testing.TB) {
		c.ready(t, 30*time.Second)
		c.settle(t, w.recorder)
	}
	var followers []*follower
	for i, n := range c.Nodes {
		followers = append(followers, &follower{client: n.client, name: fmt.Sprintf("node %d", i), through: n.Address})
	}
	last := startProxy(t, c.addresses()...)
	followers = append(followers, &follower{client: c.client, name: "all nodes in turn", through: last.Address()})
	all.come(t, followers...)
	until(t, 2*time.Minute, "everybody has come", func() bool { return all.arrived.Load() == int64(people) })
	return all
}

// What the drills stand on: three nodes serve one database, and an end on any of them
// is felt by all, and by every service. I-1, R-8
func TestCluster(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	crowd := startClusterCrowd(t, c, size(12, 64))
	elapse(t.Context(), time.Duration(size(1, 60))*time.Second)
	crowd.leave(t)
	t.Log(crowd)
	c.allServed(t)
	c.checkWhole(t)
}
