package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// limits are how long a stranger may take. Bodies are small, so a slow one is no
// honest one; streams lift the limits of a request for themselves, and have one
// for each write.
type limits struct {
	header, read, write, idle time.Duration
	// stop is how long requests in flight may take once the server stops, draining
	// included. The rest of ten seconds is for what is written last.
	stop time.Duration
}

var usualLimits = limits{
	header: 10 * time.Second, read: 20 * time.Second, write: 60 * time.Second, idle: 2 * time.Minute,
	stop: 8 * time.Second,
}

const (
	maxHeader = 16 << 10
	maxDrain  = 3 * time.Second
)

// overHTTP2 bounds what one connection may make us hold: frames of the smallest
// size there is, and bodies not yet read no larger than a few that we take.
var overHTTP2 = http.HTTP2Config{
	MaxConcurrentStreams: 128, MaxReadFrameSize: 16 << 10,
	MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 256 << 10,
	WriteByteTimeout: 20 * time.Second,
}

// Listen opens what Serve will answer on: the public listener, with TLS where it
// is configured, and the one for metrics where that is, else nil.
func (a *App) Listen(ctx context.Context) (public, metrics net.Listener, err error) {
	public, err = listen(ctx, "listen", a.config.Listen)
	if err != nil {
		return nil, nil, err
	}
	public = bounded(public, room(), a.logger)
	if a.config.TLS.Certificate != "" {
		pair := &certificate{certFile: a.config.TLS.Certificate, keyFile: a.config.TLS.Key, now: a.now, logger: a.logger}
		if _, err := pair.get(nil); err != nil {
			return nil, nil, errors.Join(err, public.Close())
		}
		public = tls.NewListener(public, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: pair.get,
			GetConfigForClient: greet,
		})
	}
	if a.config.Metrics.Listen != "" {
		if metrics, err = listen(ctx, "metrics.listen", a.config.Metrics.Listen); err != nil {
			return nil, nil, errors.Join(err, public.Close())
		}
		metrics = bounded(metrics, metricsRoom, a.logger)
	}
	return public, metrics, nil
}

func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: something listens on %s already: is the server running? Stop it, or choose another address", setting, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

// Serve answers until ctx ends, and then stops in order: readiness turns false,
// streams are told to move, requests in flight are finished, what is known is
// written. It returns within ten seconds of ctx's end, and closes the store.
func (a *App) Serve(ctx context.Context, public, metrics net.Listener) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var loops sync.WaitGroup
	loops.Go(func() { a.Run(background) })
	if err := a.Log.Ready(ctx); err != nil {
		a.logger.Error("this node is not ready", "error", err)
	}

	var servers []*http.Server
	failed := make(chan error, 2)
	answer := func(h http.Handler, on net.Listener) {
		server := a.server(h)
		servers = append(servers, server)
		go func() { failed <- server.Serve(on) }()
	}
	answer(a.Handler(), public)
	if metrics != nil {
		answer(a.Metrics(), metrics)
	}
	var err error
	select {
	case <-ctx.Done():
		a.logger.Info("stopping")
	case err = <-failed:
	}
	a.Stop()
	stopping, cancel := context.WithTimeout(background, a.limits.stop)
	defer cancel()
	if err == nil {
		err = a.drained(failed)
	}
	for _, server := range servers {
		if e := server.Shutdown(stopping); e != nil {
			a.logger.Warn("requests that did not end in time are cut", "error", e)
			err = errors.Join(err, server.Close())
		}
	}
	stopBackground()
	loops.Wait()
	return errors.Join(err, a.Close())
}

// drained waits until load balancers have seen that this node is no longer ready.
func (a *App) drained(failed <-chan error) error {
	wait := time.NewTimer(a.drain)
	defer wait.Stop()
	select {
	case err := <-failed:
		return err
	case <-wait.C:
		return nil
	}
}

// retiring ends each connection with its next answer once the server stops, so
// that clients find another node while this one still answers.
func (a *App) retiring(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: a.retiring(attended(h)), ConnContext: withConnection, ConnState: keepHijacked, HTTP2: &overHTTP2,
		ReadHeaderTimeout: a.limits.header, ReadTimeout: a.limits.read,
		WriteTimeout: a.limits.write, IdleTimeout: a.limits.idle, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
	}
}
