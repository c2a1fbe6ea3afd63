package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	yaml "github.com/oasdiff/yaml3"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/config"
)

// The parts of Kubernetes' objects that the manifests use, by the names of its API. A
// member that is not here is a mistake, of the manifest or of this list.
type (
	labels   map[string]string
	metadata struct {
		Name   string
		Labels labels
	}
	selector struct {
		MatchLabels labels `yaml:"matchLabels"`
	}
	configMap struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Data       map[string]string
	}
	service struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Spec       struct {
			Selector labels
			Ports    []struct {
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}
	budget struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Spec       struct {
			MaxUnavailable int `yaml:"maxUnavailable"`
			Selector       selector
		}
	}
	ingress struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Spec       struct {
			TLS []struct {
				Hosts      []string
				SecretName string `yaml:"secretName"`
			}
			Rules []struct {
				Host string
				HTTP struct {
					Paths []struct {
						Path     string
						PathType string `yaml:"pathType"`
						Backend  struct {
							Service struct {
								Name string
								Port struct{ Name string }
							}
						}
					}
				}
			}
		}
	}
	networkPolicy struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Spec       struct {
			PodSelector selector `yaml:"podSelector"`
			PolicyTypes []string `yaml:"policyTypes"`
			Ingress     []struct {
				From []struct {
					NamespaceSelector selector `yaml:"namespaceSelector"`
				}
				Ports []struct{ Port string }
			}
		}
	}
	probe struct {
		HTTPGet struct {
			Path string
			Port string
		} `yaml:"httpGet"`
		PeriodSeconds    int `yaml:"periodSeconds"`
		TimeoutSeconds   int `yaml:"timeoutSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
	variable struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	node struct {
		Name, Image string
		Args        []string
		Env         []variable
		Ports       []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		StartupProbe   probe `yaml:"startupProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		Lifecycle      struct {
			PreStop struct {
				Sleep struct{ Seconds int }
			} `yaml:"preStop"`
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	pod struct {
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool `yaml:"enableServiceLinks"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			RunAsUser      int                   `yaml:"runAsUser"`
			RunAsGroup     int                   `yaml:"runAsGroup"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		TopologySpreadConstraints []struct {
			MaxSkew           int      `yaml:"maxSkew"`
			TopologyKey       string   `yaml:"topologyKey"`
			WhenUnsatisfiable string   `yaml:"whenUnsatisfiable"`
			LabelSelector     selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Containers []node
		Volumes    []struct {
			Name      string
			ConfigMap struct{ Name string } `yaml:"configMap"`
		}
	}
	deployment struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Spec       struct {
			Replicas int
			Strategy struct {
				Type          string
				RollingUpdate struct {
					MaxSurge       int `yaml:"maxSurge"`
					MaxUnavailable int `yaml:"maxUnavailable"`
				} `yaml:"rollingUpdate"`
			}
			MinReadySeconds         int `yaml:"minReadySeconds"`
			ProgressDeadlineSeconds int `yaml:"progressDeadlineSeconds"`
			Selector                selector
			Template                struct {
				Metadata metadata
				Spec     pod
			}
		}
	}
)

// strictly reads a file of one YAML document, of which every member must be known and
// none may come twice.
func strictly[T any](t *testing.T, file string) *T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	into := new(T)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := d.Decode(new(T)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s goes on after its document: %v", file, err)
	}
	return into
}

// A cluster is all manifests.
type cluster struct {
	config     *configMap
	deployment *deployment
	service    *service
	budget     *budget
	ingress    *ingress
	policy     *networkPolicy
}

func readCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		strictly[configMap](t, "kubernetes/config.yaml"), strictly[deployment](t, "kubernetes/deployment.yaml"), strictly[service](t, "kubernetes/service.yaml"),
		strictly[budget](t, "kubernetes/disruption-budget.yaml"), strictly[ingress](t, "kubernetes/ingress.yaml"), strictly[networkPolicy](t, "kubernetes/network-policy.yaml"),
	}
	files, err := filepath.Glob("kubernetes/*")
	if err != nil || len(files) != 6 {
		t.Errorf("%v (%v): a manifest is read by no test", files, err)
	}
	return c
}

// Every object is of a kind and version that there is, and they find each other by
// labels, names and ports.
func TestManifestsAgree(t *testing.T) {
	c := readCluster(t)
	for _, o := range []struct{ version, kind, want string }{
		{c.config.APIVersion, c.config.Kind, "v1 ConfigMap"},
		{c.deployment.APIVersion, c.deployment.Kind, "apps/v1 Deployment"},
		{c.service.APIVersion, c.service.Kind, "v1 Service"},
		{c.budget.APIVersion, c.budget.Kind, "policy/v1 PodDisruptionBudget"},
		{c.ingress.APIVersion, c.ingress.Kind, "networking.k8s.io/v1 Ingress"},
		{c.policy.APIVersion, c.policy.Kind, "networking.k8s.io/v1 NetworkPolicy"},
	} {
		if got := o.version + " " + o.kind; got != o.want {
			t.Errorf("%s, want %s", got, o.want)
		}
	}
	template := c.deployment.Spec.Template
	pods := template.Metadata.Labels
	for who, by := range map[string]labels{
		"deployment": c.deployment.Spec.Selector.MatchLabels, "service": c.service.Spec.Selector, "budget": c.budget.Spec.Selector.MatchLabels,
		"policy": c.policy.Spec.PodSelector.MatchLabels, "spread": template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		if len(by) == 0 || !maps.Equal(by, pods) {
			t.Errorf("the %s looks for %v, and pods are %v", who, by, pods)
		}
	}
	n := template.Spec.Containers[0]
	ports := map[string]int{}
	for _, p := range n.Ports {
		ports[p.Name] = p.ContainerPort
	}
	named := []string{c.service.Spec.Ports[0].TargetPort, n.StartupProbe.HTTPGet.Port, n.ReadinessProbe.HTTPGet.Port, n.LivenessProbe.HTTPGet.Port}
	for _, rule := range c.policy.Spec.Ingress {
		named = append(named, rule.Ports[0].Port)
	}
	for _, name := range named {
		if ports[name] == 0 {
			t.Errorf("a port is called %q, and there are %v", name, ports)
		}
	}
	path := c.ingress.Spec.Rules[0].HTTP.Paths[0]
	if b := path.Backend.Service; path.Path != "/" || b.Name != c.service.Metadata.Name || b.Port.Name != c.service.Spec.Ports[0].Name {
		t.Errorf("the ingress leads to %+v", path)
	}
	if v := template.Spec.Volumes[0]; v.ConfigMap.Name != c.config.Metadata.Name || v.Name != n.VolumeMounts[0].Name {
		t.Errorf("the volume %+v is not that of %s and of %+v", v, c.config.Metadata.Name, n.VolumeMounts)
	}
}

// The server accepts the configuration with the two secrets, which are in no manifest,
// and listens where the manifests say.
func TestManifestsFitTheProgram(t *testing.T) {
	c := readCluster(t)
	n := c.deployment.Spec.Template.Spec.Containers[0]
	dir := t.TempDir()
	for name, text := range c.config.Data {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	given := map[string]string{ // what the Secret holds
		"secret":   "e2b1c44a1f1d7d0f2b8f9d1bb3b5a9f0a5d5b8a0d9d34c71a0f6c1f0b2a49c55",
		"database": "postgres://coatcheck:PASSWORD@postgres:5432/coatcheck",
	}
	var path string
	var environ []string
	asked := map[string]bool{}
	for _, v := range n.Env {
		from := v.ValueFrom.SecretKeyRef
		switch {
		case v.Name == "COATCHECK_CONFIG":
			path = filepath.Join(dir, filepath.Base(v.Value))
			if filepath.Dir(v.Value) != n.VolumeMounts[0].MountPath {
				t.Errorf("%s is not in %s", v.Value, n.VolumeMounts[0].MountPath)
			}
		case from.Key != "":
			asked[from.Key] = true
			environ = append(environ, v.Name+"="+given[from.Key])
		default:
			environ = append(environ, v.Name+"="+v.Value)
		}
	}
	environ = slices.DeleteFunc(environ, func(v string) bool { return !strings.HasPrefix(v, "COATCHECK_") })
	loaded, err := config.Load(config.Options{Path: path, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	if !asked["secret"] || !asked["database"] || loaded.Database != given["database"] {
		t.Errorf("of the Secret comes %v, and the database is %s", asked, loaded.Database)
	}
	for i, listen := range []string{loaded.Listen, loaded.Metrics.Listen} {
		if want := ":" + strconv.Itoa(n.Ports[i].ContainerPort); listen != want {
			t.Errorf("it listens on %s, and the manifest says %s", listen, want)
		}
	}
	for _, p := range []probe{n.StartupProbe, n.LivenessProbe} {
		if p.HTTPGet.Path != "/healthz" {
			t.Errorf("%s decides whether the process is started anew: a database that is away would", p.HTTPGet.Path)
		}
	}
	if n.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("readiness is asked at %s", n.ReadinessProbe.HTTPGet.Path)
	}
	if host := c.ingress.Spec.Rules[0].Host; loaded.PublicURL != "https://"+host || c.ingress.Spec.TLS[0].Hosts[0] != host {
		t.Errorf("public_url is %s, and the ingress serves %s with a certificate for %v", loaded.PublicURL, host, c.ingress.Spec.TLS)
	}
	if !slices.Contains(loaded.Proxies, netip.MustParsePrefix("10.0.0.0/8")) {
		t.Errorf("proxies are %v", loaded.Proxies)
	}
}

// A node has the rights of nobody, memory for what it is told to do, and time to stop
// in order: a rolling update takes no node away before another one is ready.
func TestManifestsAreSafe(t *testing.T) {
	c := readCluster(t)
	spec := c.deployment.Spec.Template.Spec
	n := spec.Containers[0]
	s := spec.SecurityContext
	if !s.RunAsNonRoot || s.RunAsUser != inImage || s.RunAsGroup != inImage || s.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("pods run as %+v", s)
	}
	if no := n.SecurityContext.AllowPrivilegeEscalation; no == nil || *no || !n.SecurityContext.ReadOnlyRootFilesystem || !slices.Equal(n.SecurityContext.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("the container may do too much: %+v", n.SecurityContext)
	}
	for name, off := range map[string]*bool{"the service account's token": spec.AutomountServiceAccountToken, "variables of services": spec.EnableServiceLinks} {
		if off == nil || *off {
			t.Errorf("pods get %s", name)
		}
	}
	if r := c.deployment.Spec; r.Strategy.RollingUpdate.MaxUnavailable != 0 || r.Strategy.RollingUpdate.MaxSurge < 1 || r.Replicas <= c.budget.Spec.MaxUnavailable {
		t.Errorf("an update or an emptied machine takes too many of %d nodes", r.Replicas)
	}
	const stopping = 10 // seconds that the server takes at most
	if spec.TerminationGracePeriodSeconds < n.Lifecycle.PreStop.Sleep.Seconds+stopping {
		t.Errorf("%d s are too few for %d s of grace and the stop", spec.TerminationGracePeriodSeconds, n.Lifecycle.PreStop.Sleep.Seconds)
	}
	mebibytes := func(text string) int {
		number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSuffix(text, "B"), "Mi"))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return number
	}
	own, slots := 0, 0
	for _, v := range n.Env {
		switch v.Name {
		case "GOMEMLIMIT":
			own = mebibytes(v.Value)
		case "COATCHECK_HASH_SLOTS":
			slots = mebibytes(v.Value)
		}
	}
	const program = 40 // the hashing process itself and the text of the binary
	hashing := slots * int(account.DefaultHashParameters.MemoryKiB>>10)
	if limit := mebibytes(n.Resources.Limits["memory"]); own == 0 || slots == 0 || own+2*hashing+program > limit {
		t.Errorf("%d MiB for the server and twice %d for passwords (garbage) do not fit into %d", own, hashing, limit)
	}
}
