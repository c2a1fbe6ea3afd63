package feed

import (
	"cmp"
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
	held    [kinds]map[string]Entry // by kind and id: a later one of the same takes its place, with the greater times of both
	strange int64                   // the latest time of an entry of a kind we do not know
	leaves  int64                   // when that entry leaves
}

// The places of the kinds in a set.
const (
	ofSession = iota
	ofGrant
	ofUser
	ofClient
	ofAll
	ofKey
	ofAPIKey
	ofChanged
	kinds
)

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
	kind := e.Kind.place()
	if kind == kinds {
		at := max(e.At, e.Before)
		if at <= 0 { // it says nothing of when, so it may concern everything
			at = math.MaxInt64
		}
		news := at > s.strange
		s.strange, s.leaves = max(s.strange, at), max(s.leaves, e.Until)
		return news
	}
	old, found := s.held[kind][e.ID]
	if !found {
		if s.held[kind] == nil {
			s.held[kind] = make(map[string]Entry)
		}
		s.held[kind][e.ID] = e
		return true
	}
	merged := old
	if e.Seq > old.Seq {
		merged = e
	}
	merged.Before = max(e.Before, old.Before)
	merged.Until = max(e.Until, old.Until)
	s.held[kind][e.ID] = merged
	return merged.Before > old.Before
}

// place returns where entries of the kind are, or kinds for one that is not known.
func (k Kind) place() int {
	switch k {
	case Session:
		return ofSession
	case Grant:
		return ofGrant
	case User:
		return ofUser
	case Client:
		return ofClient
	case All:
		return ofAll
	case Key:
		return ofKey
	case APIKey:
		return ofAPIKey
	case Changed:
		return ofChanged
	}
	return kinds
}

// Verdict says what the set knows about a credential: [Live], [Renew], [Over]
// or [Unsure]. Expiry is the caller's to check.
func (s *Set) Verdict(c Subject) Verdict {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.over(c):
		return Over
	case s.names(ofKey, c.Key):
		return Renew
	case s.strange != 0 && c.IssuedAt <= s.strange:
		return Unsure
	case s.reaches(ofChanged, c.Session, c.IssuedAt), s.reaches(ofChanged, c.User, c.IssuedAt), s.reaches(ofChanged, c.Client, c.IssuedAt):
		return Renew
	}
	return Live
}

func (s *Set) over(c Subject) bool {
	return s.names(ofSession, c.Session) || s.names(ofGrant, c.Grant) ||
		s.reaches(ofUser, c.User, c.IssuedAt) || s.reaches(ofClient, c.Client, c.IssuedAt) ||
		s.reachesAll(c.IssuedAt)
}

func (s *Set) names(kind int, id string) bool {
	if id == "" || len(s.held[kind]) == 0 {
		return false
	}
	_, found := s.held[kind][id]
	return found
}

func (s *Set) reaches(kind int, id string, issued int64) bool {
	if id == "" || len(s.held[kind]) == 0 {
		return false
	}
	e, found := s.held[kind][id]
	return found && issued <= e.Before
}

func (s *Set) reachesAll(issued int64) bool {
	e, found := s.held[ofAll][""]
	return found && issued <= e.Before
}

// Holds reports whether an entry of this kind and id is held.
func (s *Set) Holds(kind Kind, id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	place := kind.place()
	return place != kinds && s.names(place, id)
}

// Prune forgets what can no longer matter at the given time (Unix seconds).
func (s *Set) Prune(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.held {
		maps.DeleteFunc(held, func(_ string, e Entry) bool { return e.Until < now })
	}
	if s.leaves < now {
		s.strange = 0
	}
}

// Entries returns what the set holds, by sequence number.
func (s *Set) Entries() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Entry, 0, s.len())
	for _, held := range s.held {
		all = slices.AppendSeq(all, maps.Values(held))
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// Len returns the number of entries held.
func (s *Set) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.len()
}

func (s *Set) len() int {
	n := 0
	for _, held := range s.held {
		n += len(held)
	}
	return n
}
