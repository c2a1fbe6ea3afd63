package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// nginxProgram is where Debian's package puts it.
const nginxProgram = "/usr/sbin/nginx"

// A site is the host that nginx serves: Coatcheck at its root, the gateway's
// service under /app/.
type site struct {
	recipe  string // the path of deploy/nginx/coatcheck.conf
	listen  string // where browsers come, host:port
	server  string // where Coatcheck listens
	service string // where the gateway's service listens
}

// around is what a distribution has in its own nginx.conf.
const around = `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[1]s/coatcheck.conf;
}
`

// nginx runs nginx with the recipe until ctx ends.
func nginx(ctx context.Context, s site) error {
	recipe, err := os.ReadFile(s.recipe) // #nosec G304 -- a file of this repository
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("listen 80;", "listen "+s.listen+";",
		"127.0.0.1:8080", s.server, "127.0.0.1:3000", s.service).Replace(string(recipe))
	dir, err := os.MkdirTemp("", "three-services")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "coatcheck.conf"), []byte(conf), 0o600), // #nosec G703 -- a folder just made
		os.WriteFile(filepath.Join(dir, "nginx.conf"), fmt.Appendf(nil, around, dir), 0o600))
	if err != nil {
		return err
	}
	// #nosec G204 -- a constant program, and a folder just made
	cmd := exec.CommandContext(ctx, nginxProgram, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); ctx.Err() == nil {
		return err
	}
	return nil
}
