package account

import "github.com/coatcheck/coatcheck/internal/hashing"

// CountHashes calls made for each hash of the directory.
func (d *Directory) CountHashes(made func(HashParameters)) {
	sum := d.hasher.sum
	d.hasher.sum = func(j hashing.Job) ([]byte, error) {
		made(HashParameters{MemoryKiB: j.MemoryKiB, Time: j.Time, Threads: j.Threads})
		return sum(j)
	}
}
