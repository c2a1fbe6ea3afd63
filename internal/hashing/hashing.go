// Package hashing makes Argon2id sums (RFC 9106), here or in a process of their own.
//
// A hash is made to cost: tens of milliseconds of a processor and megabytes of memory,
// without a pause in which anyone else could have a turn. Beside session checks that
// take microseconds it is a bad neighbour in more ways than one: it holds a thread of
// the Go scheduler, and the garbage collector has to stop it, twice for every hash,
// because of the memory it took. As a [Process] of lower priority it is none: the
// system gives it what the server leaves, and its memory is collected apart.
package hashing

import (
	"runtime"
	"runtime/metrics"

	"golang.org/x/crypto/argon2"
)

// A Job is one sum to be made.
type Job struct {
	Password, Salt []byte
	MemoryKiB      uint32 // at least 8 per lane
	Time           uint32 // passes over that memory, at least 1
	Threads        uint8  // lanes, at least 1
	Length         uint32 // of the sum, in bytes
}

// A Sum makes the sum of a job. It is safe for concurrent use; who calls bounds how
// many are made at a time. It fails only where the process that makes it cannot be
// asked.
type Sum func(Job) ([]byte, error)

// Here makes the sum in this process. It never fails.
func Here(j Job) ([]byte, error) {
	sum := derive(j)
	if j.MemoryKiB >= muchMemory && liveHeap() < smallHeap+uint64(j.MemoryKiB)*1024 {
		runtime.GC()
	}
	return sum, nil
}

func derive(j Job) []byte {
	return argon2.IDKey(j.Password, j.Salt, j.Time, j.MemoryKiB, j.Threads, j.Length)
}

// What is to be collected at once: memory of a hash from here on, in KiB, while the
// rest of the process holds less than so much, in bytes. The collector by itself would
// let the process double before it begins. Where the heap is larger the hashes are
// within what it leaves unused anyway, and to walk through it for each of them would
// cost more than the hash.
const (
	muchMemory = 4 * 1024
	smallHeap  = 64 << 20
)

func liveHeap() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return live[0].Value.Uint64()
}
