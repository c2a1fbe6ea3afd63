package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// get asks with one header, "Name: value", or none.
func get(ctx context.Context, client *http.Client, address, header string) (code int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		r.Header.Set(name, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// check makes sure that a candidate does what it is there for: it knows everybody,
// by the whole answer, and nobody without a credential or with a changed one. All
// credentials have been seen once after it.
func (c *candidate) check(ctx context.Context, s shelf, address string) error {
	users, err := s.lines(usersFile)
	if err != nil {
		return err
	}
	headers, err := s.lines(headersOf(c.name))
	if err != nil {
		return err
	}
	if len(headers) != len(users) {
		return fmt.Errorf("%s: %d credentials for %d people", c.name, len(headers), len(users))
	}
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	err = inParallel(8, len(headers), func(k int) error {
		want := "Hello " + users[k] + "!\n"
		if c.bare {
			want = "Hello " + users[0] + "!\n"
		}
		code, body, err := get(ctx, client, address, headers[k])
		if err == nil && (code != http.StatusOK || body != want) {
			err = fmt.Errorf("%s: credential %d is answered with %d %q, not with %q", c.name, k, code, body, want)
		}
		return err
	})
	if err != nil || c.bare {
		return err
	}
	for _, header := range []string{"", changed(headers[0])} {
		code, _, err := get(ctx, client, address, header)
		if err == nil && code != http.StatusUnauthorized {
			err = fmt.Errorf("%s: a request that is nobody's is answered with %d", c.name, code)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changed returns a credential with another character near its end.
func changed(header string) string {
	at := len(header) - 10
	other := byte('A')
	if header[at] == other {
		other = 'B'
	}
	return header[:at] + string(other) + header[at+1:]
}

// felt ends the spare sessions one by one, and measures from the answer of the
// ending call until a service that knew the session refuses it.
func (i *issuer) felt(ctx context.Context, address string) ([]time.Duration, error) {
	var all []time.Duration
	for _, p := range i.people[len(i.people)-spare:] {
		if code, _, err := get(ctx, http.DefaultClient, address, p.bearer()); err != nil || code != http.StatusOK {
			return nil, fmt.Errorf("a session before its end is answered with %d: %w", code, err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodDelete, i.url+"/v1/admin/sessions/"+p.session, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+i.apiKey)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		ended := time.Now()
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			return nil, fmt.Errorf("the ending of a session is answered with %s", answer.Status)
		}
		for code := 0; code != http.StatusUnauthorized; {
			if time.Since(ended) > 30*time.Second {
				return nil, fmt.Errorf("a session that was ended is answered with %d", code)
			}
			if code, _, err = get(ctx, http.DefaultClient, address, p.bearer()); err != nil {
				return nil, err
			}
		}
		all = append(all, time.Since(ended))
	}
	slices.Sort(all)
	return all, nil
}
