package jwt

import (
	"crypto/ecdsa"
	"crypto/rand"
	"slices"
	"testing"
	"time"
)

// The raw signature is the floor of both parsing and signing. The benchmarks
// called ratio run the two in turn, so that a busy machine slows both, and give
// the ratio of their medians.

func BenchmarkParseES256(b *testing.B) {
	signer := testSigner(b, ES256)
	token := sign(b, signer, usualClaims())
	keys := only(signer.Public())
	key, sum := testECKey(b), digest([]byte("a message"))
	der, err := ecdsa.SignASN1(rand.Reader, key, sum)
	if err != nil {
		b.Fatal(err)
	}
	compare(b,
		func() bool { _, err := Parse(token, keys); return err == nil },
		func() bool { return ecdsa.VerifyASN1(&key.PublicKey, sum, der) })
}

func BenchmarkSignES256(b *testing.B) {
	signer, claims := testSigner(b, ES256), usualClaims()
	key, sum := testECKey(b), digest([]byte("a message"))
	compare(b,
		func() bool { _, err := signer.Sign(claims); return err == nil },
		func() bool { _, err := ecdsa.SignASN1(rand.Reader, key, sum); return err == nil })
}

func compare(b *testing.B, token, raw func() bool) {
	repeat := func(work func() bool) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !work() {
					b.Fatal("it failed")
				}
			}
		}
	}
	b.Run("token", repeat(token))
	b.Run("raw", repeat(raw))
	b.Run("ratio", func(b *testing.B) {
		var tokens, raws []time.Duration
		timed := func(work func() bool) time.Duration {
			start := time.Now()
			if !work() {
				b.Fatal("it failed")
			}
			return time.Since(start)
		}
		for b.Loop() {
			tokens, raws = append(tokens, timed(token)), append(raws, timed(raw))
		}
		slices.Sort(tokens)
		slices.Sort(raws)
		half := len(raws) / 2
		b.ReportMetric(float64(tokens[half])/float64(raws[half]), "x-raw")
	})
}

// BenchmarkRefuse is what a stranger can make us spend without a key id.
func BenchmarkRefuse(b *testing.B) {
	signer := testSigner(b, ES256)
	token := sign(b, signer, usualClaims())
	none := func(string) (PublicKey, bool) { return PublicKey{}, false }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(token, none); err == nil {
			b.Fatal("accepted")
		}
	}
}
