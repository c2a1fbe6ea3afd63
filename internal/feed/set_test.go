package feed

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func TestVerdict(t *testing.T) {
	subject := Subject{Session: "ses_1", Grant: "grt_1", User: "usr_1", Client: "cli_1", Key: "k1", IssuedAt: 100}
	tests := []struct {
		name  string
		entry Entry
		want  Verdict
	}{
		{"nothing is held", Entry{}, Live},
		{"its session", Entry{Kind: Session, ID: "ses_1"}, Over},
		{"another session (V-53)", Entry{Kind: Session, ID: "ses_2"}, Live},
		{"its grant", Entry{Kind: Grant, ID: "grt_1"}, Over},
		{"another grant", Entry{Kind: Grant, ID: "ses_1"}, Live},
		{"its key", Entry{Kind: Key, ID: "k1"}, Renew},
		{"another key", Entry{Kind: Key, ID: "k2"}, Live},
		{"its user, at the time", Entry{Kind: User, ID: "usr_1", Before: 100}, Over},
		{"its user, before it was issued", Entry{Kind: User, ID: "usr_1", Before: 99}, Live},
		{"another user", Entry{Kind: User, ID: "usr_2", Before: 200}, Live},
		{"its client, later", Entry{Kind: Client, ID: "cli_1", Before: 101}, Over},
		{"its client, before it was issued", Entry{Kind: Client, ID: "cli_1", Before: 99}, Live},
		{"everything, at the time", Entry{Kind: All, Before: 100}, Over},
		{"everything, before it was issued", Entry{Kind: All, Before: 99}, Live},
		{"a change of its session", Entry{Kind: Changed, ID: "ses_1", Before: 100}, Renew},
		{"a change of its user", Entry{Kind: Changed, ID: "usr_1", Before: 100}, Renew},
		{"a change of its client", Entry{Kind: Changed, ID: "cli_1", Before: 100}, Renew},
		{"a change before it was issued", Entry{Kind: Changed, ID: "usr_1", Before: 99}, Live},
		{"an API key of the same id", Entry{Kind: APIKey, ID: "k1", Before: 200}, Live},
		{"an unknown kind, at the time", Entry{Kind: "planet", ID: "x", At: 100}, Unsure},
		{"an unknown kind, before it was issued", Entry{Kind: "planet", ID: "x", At: 99}, Live},
		{"an unknown kind that reaches later", Entry{Kind: "planet", At: 50, Before: 100}, Unsure},
		{"an unknown kind without a time", Entry{Kind: "planet"}, Unsure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s Set
			if test.entry.Kind != "" {
				test.entry.Seq, test.entry.Until = 1, 1000
				s.Add(test.entry)
			}
			if got := s.Verdict(subject); got != test.want {
				t.Errorf("verdict %d, want %d", got, test.want)
			}
		})
	}
}

func TestVerdictOfEmptyMembers(t *testing.T) {
	var s Set
	for _, kind := range []Kind{Session, Grant, User, Client, Key, Changed} {
		s.Add(Entry{Seq: 1, Kind: kind, Before: 200, Until: 1000})
	}
	if got := s.Verdict(Subject{IssuedAt: 100}); got != Live {
		t.Errorf("entries without an id gave verdict %d on a subject without ids, want Live", got)
	}
}

func TestEndOutranksAChange(t *testing.T) {
	var s Set
	s.Add(Entry{Seq: 1, Kind: Changed, ID: "ses_1", Before: 200, Until: 1000},
		Entry{Seq: 2, Kind: Session, ID: "ses_1", Until: 1000},
		Entry{Seq: 3, Kind: "planet", At: 200, Until: 1000})
	if got := s.Verdict(Subject{Session: "ses_1", IssuedAt: 100}); got != Over {
		t.Errorf("verdict %d, want Over", got)
	}
}

func TestKeyOutranksAnUnknownKind(t *testing.T) {
	var s Set
	s.Add(Entry{Seq: 1, Kind: Key, ID: "k1", Until: 1000}, Entry{Seq: 2, Kind: "planet", At: 200, Until: 1000})
	if got := s.Verdict(Subject{Key: "k1", IssuedAt: 100}); got != Renew {
		t.Errorf("verdict %d, want Renew: no answer can make a key trusted again", got)
	}
}

func TestAddTwiceChangesNothing(t *testing.T) {
	var s Set
	e := Entry{Seq: 1, Kind: User, ID: "usr_1", Before: 100, Until: 1000}
	if s.Add(e) != 1 || s.Add(e) != 0 || s.Add() != 0 {
		t.Error("adding an entry again counted as news")
	}
	if s.Version() != 1 {
		t.Errorf("version %d after one piece of news, want 1", s.Version())
	}
	if e.Before = 50; s.Add(e) != 0 || s.Verdict(Subject{User: "usr_1", IssuedAt: 100}) != Over {
		t.Error("an older entry lowered the time of a newer one")
	}
	if e.Before = 150; s.Add(e) != 1 || s.Verdict(Subject{User: "usr_1", IssuedAt: 150}) != Over {
		t.Error("a later end of the same user was not taken")
	}
}

// A set that lost an entry to an older snapshot would bring back what is over.
func TestSetOnlyGrows(t *testing.T) { // I-1
	subjects := []Subject{
		{Session: "a", Grant: "g", User: "u", IssuedAt: 5},
		{Session: "b", Client: "c", Key: "k", IssuedAt: 10},
		{User: "u", IssuedAt: 15},
	}
	kinds := []Kind{Session, Grant, User, Client, All, Key, Changed, "planet"}
	ids := []string{"a", "b", "c", "g", "k", "u"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s Set
		var before []Verdict
		for range 30 {
			e := Entry{
				Seq: r.Uint64N(40), Kind: kinds[r.IntN(len(kinds))], ID: ids[r.IntN(len(ids))],
				Before: r.Int64N(20), At: r.Int64N(20), Until: 100 + r.Int64N(50),
			}
			version := s.Version()
			news := s.Add(e)
			var after []Verdict
			for i, subject := range subjects {
				after = append(after, s.Verdict(subject))
				if before != nil && before[i] == Over && after[i] != Over {
					t.Fatalf("%+v brought subject %d back", e, i)
				}
				if before != nil && before[i] != after[i] && s.Version() == version {
					t.Fatalf("%+v changed a verdict but not the version (news %d)", e, news)
				}
			}
			before = after
		}
	}
}

func TestPrune(t *testing.T) {
	var s Set
	s.Add(Entry{Seq: 1, Kind: Session, ID: "a", Until: 100}, Entry{Seq: 2, Kind: Session, ID: "b", Until: 200},
		Entry{Seq: 3, Kind: "planet", At: 50, Until: 150})
	s.Prune(100)
	if s.Len() != 2 {
		t.Errorf("%d entries at the time of the first's end, want 2: it may still matter", s.Len())
	}
	s.Prune(151)
	if s.Holds(Session, "a") || !s.Holds(Session, "b") {
		t.Error("Prune did not remove just what had run out")
	}
	if got := s.Verdict(Subject{IssuedAt: 50}); got != Live {
		t.Errorf("verdict %d after an unknown kind ran out, want Live", got)
	}
	s.Add(Entry{Seq: 1, Kind: Session, ID: "b", Until: 150})
	s.Prune(160)
	if !s.Holds(Session, "b") {
		t.Error("an older copy shortened an entry's life")
	}
}

func TestPruneOfUnknownKindThatComesAgain(t *testing.T) {
	var s Set
	e := Entry{Seq: 1, Kind: "planet", At: 50, Until: 100}
	s.Add(e)
	s.Prune(101)
	e.At, e.Until = 40, 300
	if s.Add(e) != 1 || s.Verdict(Subject{IssuedAt: 40}) != Unsure {
		t.Error("an unknown kind was not minded after an earlier one had run out")
	}
}

func TestEntriesInOrder(t *testing.T) {
	var s Set
	s.Add(Entry{Seq: 3, Kind: All, Before: 1, Until: 9}, Entry{Seq: 1, Kind: Session, ID: "a", Until: 9},
		Entry{Seq: 2, Kind: User, ID: "a", Until: 9})
	var seqs []uint64
	for _, e := range s.Entries() {
		seqs = append(seqs, e.Seq)
	}
	if !slices.Equal(seqs, []uint64{1, 2, 3}) {
		t.Errorf("order %v, want 1 2 3", seqs)
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	var s Set
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 200 {
				id := string(rune('a' + (worker+i)%26))
				s.Add(Entry{Seq: uint64(i), Kind: Session, ID: id, Until: int64(i)})
				s.Verdict(Subject{Session: id})
				s.Prune(int64(i) - 50)
				s.Entries()
			}
		})
	}
	group.Wait()
}
