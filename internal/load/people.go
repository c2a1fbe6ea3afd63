package load

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	manyPeople = 32 // users are made, at most: each costs the server a hash
	fewPeople  = 8  // at least: with fewer, one of them would sign in too often at the same time for throttle.pair
	manyAtOnce = 16 // sign-ins at the same time: more have to wait on two cores, or are turned away
)

// people are the users that a measurement makes. What is said of them once they are
// made is safe for concurrent use.
type people struct {
	r              *run
	name, password string
	ids            []string
	next           atomic.Int64
}

func newPeople(r *run) *people {
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand.Read ends the program instead
	text := hex.EncodeToString(secret[:])
	return &people{r: r, name: text[:8], password: text[8:]}
}

func (p *people) email(i int) string { return fmt.Sprintf("bench-%s-%d@bench.invalid", p.name, i) }

// add makes n users. Those that were made are known even if one cannot be.
func (p *people) add(ctx context.Context, n int) error {
	var mu sync.Mutex
	return explained(p.r.each(ctx, n, func(c *connection, i int) error {
		var made struct{ ID string }
		_, err := c.send(p.r.target.request("POST", "/v1/admin/users", map[string]any{
			"email": p.email(i), "name": "Coatcheck bench", "password": p.password, "email_verified": true,
		}, "Authorization", "Bearer "+p.r.APIKey), &made)
		if made.ID != "" {
			mu.Lock()
			p.ids = append(p.ids, made.ID)
			mu.Unlock()
		}
		return err
	}))
}

// remove deletes the users, and with them their sessions.
func (p *people) remove(ctx context.Context) error {
	if len(p.ids) == 0 {
		return nil
	}
	p.r.Note("removing the users")
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	err := p.r.each(ctx, len(p.ids), func(c *connection, i int) error {
		_, err := c.send(p.r.target.request("DELETE", "/v1/admin/users/"+p.ids[i], nil, "Authorization", "Bearer "+p.r.APIKey), nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("the users whose emails begin with bench-%s are not all removed, see coatcheck user list and coatcheck user delete: %w", p.name, err)
	}
	return nil
}

// admitted is what one sign-in gave.
type admitted struct {
	session string
	cookie  string // "name=value", with the transport cookie
	refresh string // with the transport token
}

// signIn signs the next of the people in, over a connection.
func (p *people) signIn(c *connection, transport string) (admitted, error) {
	i := int(p.next.Add(1)-1) % len(p.ids)
	var in struct {
		Session struct{ ID string }
		Tokens  struct {
			Refresh string `json:"refresh_token"`
		}
	}
	header, err := c.send(p.r.target.request("POST", "/v1/sign-in", map[string]any{
		"email": p.email(i), "password": p.password, "transport": transport, "device": "coatcheck bench",
	}), &in)
	a := admitted{session: in.Session.ID, refresh: in.Tokens.Refresh}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		if !strings.HasPrefix(cookie.Value, "cks_") {
			continue // it names the device, not the session
		}
		a.cookie = cookie.Name + "=" + cookie.Value
	}
	return a, err
}

// begin signs in n times.
func (p *people) begin(ctx context.Context, n int, transport string) ([]admitted, error) {
	all := make([]admitted, n)
	return all, p.r.each(ctx, n, func(c *connection, i int) (err error) {
		all[i], err = p.signIn(c, transport)
		return err
	})
}

// each calls do for 0 to n-1 over a few connections at the same time. What the server
// is too busy for is tried again, for some minutes.
func (r *run) each(ctx context.Context, n int, do func(c *connection, i int) error) error {
	left := make(chan int, n)
	for i := range n {
		left <- i
	}
	close(left)
	over, cancel := context.WithTimeout(ctx, 10*answerWithin)
	defer cancel()
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range min(n, manyAtOnce) {
		all.Go(func() {
			if err := r.take(over, left, do); err != nil {
				once.Do(func() { failed = err })
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(ctx.Err(), failed)
}

// take does what is left until nothing is.
func (r *run) take(ctx context.Context, left <-chan int, do func(c *connection, i int) error) error {
	c, err := r.target.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for i := range left {
		err := do(c, i)
		for isBusy(err) {
			select {
			case <-time.After(100 * time.Millisecond):
				err = do(c, i)
			case <-ctx.Done():
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isBusy(err error) bool {
	var refused *Refusal
	return errors.As(err, &refused) && refused.Code == "busy"
}
