package coatcheck

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A vouch is what credentials rest on, and what those have in common that rest on
// the same.
type vouch struct {
	verifier *Verifier
	key      *trusted // that signed them; nil for cookies
	header   string   // what they begin with
	client   string   // that drew them
}

// vouches are held once for all credentials. The zero value is ready. They are
// safe for concurrent use, and bounded: what finds no room is made for itself.
type vouches struct {
	last atomic.Pointer[vouch] // most ask for the same again
	mu   sync.Mutex
	of   map[pair]*vouch
}

type pair struct{ header, client string }

// maxShared is how many of a kind are shared at most. Servers have few headers,
// clients, scopes and ways to sign in, but nothing says that they must.
const maxShared = 1024

// find returns the vouch for a genuine credential. It keeps nothing of header and
// client.
func (vs *vouches) find(v *Verifier, key *trusted, header, client string) *vouch {
	if one := vs.last.Load(); one != nil && one.header == header && one.client == client {
		return one
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if one := vs.of[pair{header, client}]; one != nil {
		vs.last.Store(one)
		return one
	}
	one := &vouch{verifier: v, key: key, header: strings.Clone(header), client: strings.Clone(client)}
	if len(vs.of) < maxShared {
		if vs.of == nil {
			vs.of = make(map[pair]*vouch)
		}
		vs.of[pair{one.header, one.client}] = one
	}
	return one
}

// A manner is how a credential was come by: its scopes, and how the person proved
// who they are. It must not be changed.
type manner struct {
	scope  string
	scopes []string
	acr    string
	amr    []string
}

func (m *manner) is(scope, acr string, amr []string) bool {
	return m.scope == scope && m.acr == acr && slices.Equal(m.amr, amr)
}

// manners are held once for all credentials, like vouches.
type manners struct {
	last atomic.Pointer[manner]
	mu   sync.Mutex
	of   map[string]*manner
}

// manner returns what is said of it in a credential. It keeps nothing of that.
func (ms *manners) manner(scope, acr string, amr []string) *manner {
	if one := ms.last.Load(); one != nil && one.is(scope, acr, amr) {
		return one
	}
	var space [256]byte
	name := append(append(append(space[:0], scope...), 0), acr...)
	for _, method := range amr {
		name = append(append(name, 0), method...)
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if one := ms.of[string(name)]; one != nil && one.is(scope, acr, amr) { // the name does not tell apart all there are
		ms.last.Store(one)
		return one
	}
	one := &manner{scope: strings.Clone(scope), acr: strings.Clone(acr)}
	one.scopes = strings.Fields(one.scope)
	for _, method := range amr {
		one.amr = append(one.amr, strings.Clone(method))
	}
	one.scopes, one.amr = slices.Clip(one.scopes), slices.Clip(one.amr)
	if len(ms.of) < maxShared && len(name) <= len(space) && ms.of[string(name)] == nil {
		if ms.of == nil {
			ms.of = make(map[string]*manner)
		}
		ms.of[string(name)] = one
	}
	return one
}
