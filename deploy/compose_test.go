package deploy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/config"
)

type (
	composed struct {
		Image string
		Build struct{ Context, Dockerfile string }
		// Environment is a map in each service here.
		Environment map[string]string
		Command     []string
		Volumes     []string
		Ports       []string
		DependsOn   any `yaml:"depends_on"`
		Healthcheck struct {
			Test              []string
			Interval, Timeout string
			Retries           int
		}
		Restart         string
		ReadOnly        bool     `yaml:"read_only"`
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
		StopGracePeriod string   `yaml:"stop_grace_period"`
		MemLimit        string   `yaml:"mem_limit"`
		Networks        []string
	}
	compose struct {
		Name     string
		Node     composed `yaml:"x-node"`
		Services map[string]composed
		Volumes  map[string]struct{}
		Networks map[string]struct {
			IPAM struct{ Config []struct{ Subnet string } } `yaml:"ipam"`
		}
	}
)

var ofEnvironment = regexp.MustCompile(`\$\{(\w+):\?[^}]*\}`)

// The services of the Compose file find each other by name, port and network, its nodes
// are configured as the program accepts it, and no secret stands in it.
func TestComposeFits(t *testing.T) {
	c := strictly[compose](t, "docker/compose.yaml")
	within := netip.MustParsePrefix(c.Networks["inside"].IPAM.Config[0].Subnet)
	for name, s := range c.Services {
		if len(s.Networks) != 1 || s.Networks[0] != "inside" || s.Image == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, node := range []string{"node-1", "node-2"} {
		s := c.Services[node]
		if file := filepath.Join("docker", s.Build.Context, s.Build.Dockerfile); !exists(file) {
			t.Errorf("%s is built from %s, which is not there", node, file)
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.StopGracePeriod != "20s" {
			t.Errorf("%s may do too much: %+v", node, s)
		}
		environ := dockerfile(t)["ENV"]
		for name, value := range s.Environment {
			if strings.HasPrefix(name, "COATCHECK_") {
				environ = append(environ, name+"="+ofEnvironment.ReplaceAllString(value, newSecret()))
			}
			if secret := strings.Contains(name, "SECRET") || strings.Contains(value, "://coatcheck:"); secret && !ofEnvironment.MatchString(value) {
				t.Errorf("%s of %s is a secret in the file", name, node)
			}
		}
		loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: environ})
		if err != nil {
			t.Fatal(err)
		}
		if len(loaded.Proxies) != 1 || loaded.Proxies[0] != within {
			t.Errorf("%s believes %v, and the network is %s", node, loaded.Proxies, within)
		}
		if !strings.Contains(loaded.Database, "@postgres:5432/"+c.Services["postgres"].Environment["POSTGRES_DB"]) || !strings.Contains(loaded.Redis, "//redis:") {
			t.Errorf("%s finds neither %s nor its Redis", node, "postgres")
		}
		_, port, _ := strings.Cut(loaded.Listen, ":")
		if !strings.Contains(c.Services["caddy"].Environment["NODES"], node+":"+port) {
			t.Errorf("caddy does not know %s:%s", node, port)
		}
		if site := c.Services["caddy"].Environment["SITE"]; site != loaded.PublicURL {
			t.Errorf("caddy serves %s, and people use %s", site, loaded.PublicURL)
		}
	}
	mount, _, _ := strings.Cut(c.Services["caddy"].Volumes[0], ":")
	if !exists(filepath.Join("docker", mount)) {
		t.Errorf("%s is not there", mount)
	}
	if ports := c.Services["caddy"].Ports; len(ports) != 1 || !strings.HasPrefix(ports[0], "127.0.0.1:") {
		t.Errorf("%v is open to other machines", ports)
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
