package account

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The most that a stored hash may cost or hold. What is above was not made here,
// or would let one row of the database take all memory.
const (
	maxMemoryKiB = 256 * 1024
	maxTime      = 16
	maxThreads   = 16
	maxPHC       = 256 // bytes of the whole string
)

// acceptable reports whether the costs are within their range.
func (p HashParameters) acceptable() bool {
	return p.Threads >= 1 && p.Threads <= maxThreads &&
		p.Time >= 1 && p.Time <= maxTime &&
		p.MemoryKiB >= 8*uint32(p.Threads) && p.MemoryKiB <= maxMemoryKiB
}

// A phc is a hash with all that is needed to make it again.
type phc struct {
	parameters HashParameters
	salt       []byte // 8 to 64 bytes
	sum        []byte // 16 to 64 bytes
}

// String returns the PHC string of the hash.
func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		p.parameters.MemoryKiB, p.parameters.Time, p.parameters.Threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.sum))
}

// parsePHC reads a PHC string of Argon2id version 19: parameters in the order m,
// t, p, numbers without leading zeros, base64 without padding. So a hash has one
// spelling, and what it returns is written again as it was.
func parsePHC(text string) (phc, error) {
	parts := strings.Split(text, "$")
	if len(text) > maxPHC || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return phc{}, errUnusable
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return phc{}, errUnusable
	}
	m, okM := cost(costs[0], "m=")
	t, okT := cost(costs[1], "t=")
	p, okP := cost(costs[2], "p=")
	if !okM || !okT || !okP || p > maxThreads {
		return phc{}, errUnusable
	}
	out := phc{parameters: HashParameters{MemoryKiB: m, Time: t, Threads: uint8(p)}}
	var okSalt, okSum bool
	out.salt, okSalt = octets(parts[4], 8, 64)
	out.sum, okSum = octets(parts[5], 16, 64)
	if !okSalt || !okSum || !out.parameters.acceptable() {
		return phc{}, errUnusable
	}
	return out, nil
}

// cost reads a number behind its name.
func cost(text, name string) (uint32, bool) {
	digits, found := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), found && err == nil && strconv.FormatUint(n, 10) == digits
}

// octets reads strict base64 of least to most bytes.
func octets(text string, least, most int) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return nil, false
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return raw, err == nil && len(raw) >= least && len(raw) <= most
}
