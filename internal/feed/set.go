package feed

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// A Set is what is over, as far as it was heard. It only grows: adding twice
// changes nothing, a snapshot adds, and entries leave by their Until alone. So
// neither a lagging node nor a restored database can bring anything back.
//
// The zero Set is ready. It is safe for concurrent use.
type Set struct {
	version atomic.Uint64
	mu      sync.RWMutex
	held    map[held]Entry
	strange int64 // the latest time of an entry of a kind we do not know
	leaves  int64 // when that entry leaves
}

// held is what entries are told apart by; a later one of the same takes its
// place, with the greater times of both.
type held struct {
	kind Kind
	id   string
}

// Version changes whenever an entry is added that the set did not hold. A
// credential found live at some version is live as long as the version stands.
func (s *Set) Version() uint64 { return s.version.Load() }

// Add adds entries and returns how many of them told something new.
func (s *Set) Add(entries ...Entry) int {
	if len(entries) == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[held]Entry)
	}
	news := 0
	for _, e := range entries {
		if s.add(e) {
			news++
		}
	}
	if news > 0 {
		s.version.Add(1)
	}
	return news
}

func (s *Set) add(e Entry) bool {
	if !e.Kind.known() {
		at := max(e.At, e.Before)
		if at <= 0 { // it says nothing of when, so it may concern everything
			at = math.MaxInt64
		}
		news := at > s.strange
		s.strange, s.leaves = max(s.strange, at), max(s.leaves, e.Until)
		return news
	}
	key := held{e.Kind, e.ID}
	old, found := s.held[key]
	if !found {
		s.held[key] = e
		return true
	}
	merged := old
	if e.Seq > old.Seq {
		merged = e
	}
	merged.Before = max(e.Before, old.Before)
	merged.Until = max(e.Until, old.Until)
	s.held[key] = merged
	return merged.Before > old.Before
}

func (k Kind) known() bool {
	switch k {
	case Session, Grant, User, Client, All, Key, APIKey, Changed:
		return true
	}
	return false
}

// Verdict says what the set knows about a credential: [Live], [Renew], [Over]
// or [Unsure]. Expiry is the caller's to check.
func (s *Set) Verdict(c Subject) Verdict {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case len(s.held) == 0 && s.strange == 0:
		return Live
	case s.over(c):
		return Over
	case s.names(Key, c.Key):
		return Renew
	case s.strange != 0 && c.IssuedAt <= s.strange:
		return Unsure
	case s.reaches(Changed, c.Session, c.IssuedAt), s.reaches(Changed, c.User, c.IssuedAt):
		return Renew
	}
	return Live
}

func (s *Set) over(c Subject) bool {
	return s.names(Session, c.Session) || s.names(Grant, c.Grant) ||
		s.reaches(User, c.User, c.IssuedAt) || s.reaches(Client, c.Client, c.IssuedAt) ||
		s.reachesAll(c.IssuedAt)
}

func (s *Set) names(kind Kind, id string) bool {
	if id == "" {
		return false
	}
	_, found := s.held[held{kind, id}]
	return found
}

func (s *Set) reaches(kind Kind, id string, issued int64) bool {
	if id == "" {
		return false
	}
	e, found := s.held[held{kind, id}]
	return found && issued <= e.Before
}

func (s *Set) reachesAll(issued int64) bool {
	e, found := s.held[held{kind: All}]
	return found && issued <= e.Before
}

// Holds reports whether an entry of this kind and id is held.
func (s *Set) Holds(kind Kind, id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names(kind, id)
}

// Prune forgets what can no longer matter at the given time (Unix seconds).
func (s *Set) Prune(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.held, func(_ held, e Entry) bool { return e.Until < now })
	if s.leaves < now {
		s.strange = 0
	}
}

// Entries returns what the set holds, by sequence number.
func (s *Set) Entries() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.held), func(a, b Entry) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
}

// Len returns the number of entries held.
func (s *Set) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.held)
}
