package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A signed is what the bare check of a token's signature needs.
type signed struct {
	input     []byte
	signature []byte // DER for ECDSA
}

func takeApart(token string, algorithm jwt.Algorithm) (signed, error) {
	cut := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err == nil && algorithm == jwt.ES256 {
		half := len(signature) / 2
		signature, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
	}
	return signed{[]byte(token[:cut]), signature}, err
}

// newTokens measures the first sight of a token beside the bare check of the same
// kind of signature. Both sides get tokens that were signed a moment ago, as if they
// had just been read from a connection.
func (b *verifierBench) newTokens(ctx context.Context, r *rig) ([]figure, error) {
	var figures []figure
	for _, one := range []struct {
		algorithm jwt.Algorithm
		check     func(signed) bool
		limit     float64
	}{
		{jwt.ES256, func(s signed) bool {
			digest := sha256.Sum256(s.input)
			return ecdsa.VerifyASN1(&b.ecdsa.PublicKey, digest[:], s.signature)
		}, 1.05},
		{jwt.EdDSA, func(s signed) bool {
			return ed25519.Verify(b.eddsa.Public().(ed25519.PublicKey), s.input, s.signature) // its Public has no other type
		}, 1.08},
	} {
		more, err := b.newToken(ctx, r, one.algorithm, one.check, one.limit)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

func (b *verifierBench) newToken(ctx context.Context, r *rig, algorithm jwt.Algorithm, check func(signed) bool, limit float64) ([]figure, error) {
	v, err := b.issuer.verifier(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	const atOnce = 2
	var tokens []string
	ours := side{times: atOnce, prepare: func() (err error) {
		tokens, err = b.issuer.tokens(atOnce, algorithm)
		return err
	}, work: func() error {
		for _, token := range tokens {
			if _, err := v.Verify(ctx, token); err != nil {
				return err
			}
		}
		return nil
	}}
	var apart [atOnce]signed
	bare := side{times: atOnce, prepare: func() error {
		tokens, err := b.issuer.tokens(atOnce, algorithm)
		for i, token := range tokens {
			if apart[i], err = takeApart(token, algorithm); err != nil {
				return err
			}
		}
		return err
	}, work: func() error {
		for _, s := range apart {
			if !check(s) {
				return errors.New("a signature is wrong")
			}
		}
		return nil
	}}
	values, err := b.rounds(r, "a new "+string(algorithm)+" token", ours, bare)
	if err != nil {
		return nil, err
	}
	allocations, err := b.allocations(ctx, v, algorithm)
	if err != nil {
		return nil, err
	}
	name := "new " + string(algorithm) + " access token"
	return []figure{
		{Name: name, Unit: "ns", Ours: values[0], Against: "bare check of its signature", Reference: values[1], Bar: bar{Ratio: true, Limit: limit}},
		{Name: name + ", allocations", Unit: "allocs", Ours: []float64{allocations}, Bar: bar{Limit: 20}},
	}, nil
}

// allocations returns how many a new token costs, of which the larger part are those
// of the bare check.
func (b *verifierBench) allocations(ctx context.Context, v *coatcheck.Verifier, algorithm jwt.Algorithm) (float64, error) {
	tokens, err := b.issuer.tokens(501, algorithm)
	if err != nil {
		return 0, err
	}
	next := inTurn(tokens, 1, func(token string) error {
		_, err = v.Verify(ctx, token)
		return err
	})
	return testing.AllocsPerRun(len(tokens)-1, func() { _ = next.work() }), err // which err tells, too
}

// mint measures signing a token beside the bare signature of as much.
func (b *verifierBench) mint(_ context.Context, r *rig) ([]figure, error) {
	claims := b.issuer.claims()
	token, err := b.issuer.signers[jwt.ES256].Sign(claims)
	if err != nil {
		return nil, err
	}
	input := []byte(token[:strings.LastIndexByte(token, '.')])
	values, err := b.rounds(r, "minting", inTurn([]jwt.Claims{claims}, 4, func(c jwt.Claims) error {
		_, err := b.issuer.signers[jwt.ES256].Sign(c)
		return err
	}), inTurn([][]byte{input}, 4, func(input []byte) error {
		digest := sha256.Sum256(input)
		_, err := ecdsa.SignASN1(rand.Reader, b.ecdsa, digest[:])
		return err
	}))
	if err != nil {
		return nil, err
	}
	return []figure{{Name: "minting an ES256 access token", Unit: "ns", Ours: values[0], Against: "bare signature", Reference: values[1], Bar: bar{Ratio: true, Limit: 1.15}}}, nil
}
