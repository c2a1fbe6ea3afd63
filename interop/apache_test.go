package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// apacheSettings let Debian's Apache protect /protected by its module for OpenID Connect.
// The verbs are: its folder, its port, the issuer, the client's id and secret.
const apacheSettings = `
ServerRoot %[1]q
ServerName localhost
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
DocumentRoot %[1]s/pages
Listen localhost:%[2]d
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
User www-data
Group www-data
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default

OIDCProviderMetadataURL %[3]s/.well-known/openid-configuration
OIDCClientID %[4]s
OIDCClientSecret %[5]s
OIDCRedirectURI http://localhost:%[2]d/protected/callback
OIDCCryptoPassphrase %[4]s-passphrase
OIDCScope "openid email"
OIDCPKCEMethod S256
OIDCCookie apache_app

<Location /protected>
	AuthType openid-connect
	Require valid-user
</Location>
`

// An application is one that people sign in to through the server.
type application struct {
	name   string
	enter  string // where a person goes to sign in
	inside string // answers 200 to who is signed in, and nothing like it to others
	leave  string // where a person goes to sign out
}

// apache runs Debian's Apache with mod_auth_openidc as an application of the server.
func (s *server) apache() application {
	t := s.t
	t.Helper()
	for _, file := range []string{"/usr/sbin/apache2", "/usr/lib/apache2/modules/mod_auth_openidc.so"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf(`%s is missing: "make test" installs it`, file)
		}
	}
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("http://localhost:%d", port)
	made := s.client("--name", "Apache", "--type", "web", "--redirect-uri", own+"/protected/callback",
		"--post-logout-redirect-uri", own+"/", "--scope", "openid", "--scope", "email",
		"--backchannel-logout-uri", own+"/protected/callback?logout=backchannel")
	dir, err := os.MkdirTemp("", "coatcheck-apache-") // not t.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.MkdirAll(filepath.Join(dir, "pages", "protected"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"apache.conf":                fmt.Sprintf(apacheSettings, dir, port, s.url, made.ID, made.Secret),
		"pages/index.html":           "outside",
		"pages/protected/index.html": "inside",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, ownerOf("www-data"), -1)); err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/apache2", "-f", filepath.Join(dir, "apache.conf"), "-DFOREGROUND")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	s.keep(cmd, filepath.Join(dir, "error.log"))
	s.reach(own + "/")
	return application{
		name: "Apache", enter: own + "/protected/index.html", inside: own + "/protected/index.html",
		leave: own + "/protected/callback?logout=" + own + "/",
	}
}
