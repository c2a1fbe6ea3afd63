package docs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// The numbers of the pages about many nodes and deployment are those of the code.
func TestNodeNumbers(t *testing.T) {
	c := load(t)
	many, deploying := "docs/many-nodes.md", "docs/deploying.md"
	says(t, many, fmt.Sprintf("in any case within %d s", revocation.FreshFor/time.Second))
	says(t, many, fmt.Sprintf("says something every %d s (`revocation.heartbeat`)", c.Revocation.Heartbeat/time.Second))
	says(t, many, fmt.Sprintf("`revocation.staleness` (%d s)", c.Revocation.Staleness/time.Second))
	says(t, deploying, fmt.Sprintf("in %d MiB for each of `hash.slots`", account.DefaultHashParameters.MemoryKiB>>10))
	for _, n := range []struct{ file, source, page, text string }{
		{"internal/revocation/log.go", "50 * time.Millisecond", many, "reads its end twenty times a second"},
		{"internal/store/sqlstore/postgres.go", "poolSize       = 16", many, "16 at most for each node"},
		{"cmd/coatcheck/serve.go", "drainBehindProxy = 2 * time.Second", many, "turns to 503 two seconds before it takes no more"},
		{"internal/app/app.go", "debug.SetMemoryLimit", deploying, "Connections take half of it at most and sessions a quarter"},
		{"internal/app/app.go", "const share, each = 4, 512", deploying, "sessions a quarter"},
		{"internal/app/connections.go", "limit/2/memoryOfOne", deploying, "Connections take half of it at most"},
	} {
		says(t, n.file, n.source)
		says(t, n.page, n.text)
	}
}
