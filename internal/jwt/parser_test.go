package jwt

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// A parser that knows headers says of each token what one says that knows none.
func TestParserSaysTheSame(t *testing.T) { // V-14, V-17
	var file struct{ Tokens []vector }
	readVectors(t, "tokens.json", &file)
	keys := find(testKeys(t))
	var p Parser
	for range 3 {
		for _, v := range file.Tokens {
			want, wantErr := Parse(v.Token, keys)
			got, err := p.Parse(v.Token, keys)
			if !reflect.DeepEqual(got, want) || !errors.Is(err, wantErr) && err.Error() != wantErr.Error() {
				t.Fatalf("%s: %+v, %v, want %+v, %v", v.Name, got, err, want, wantErr)
			}
		}
	}
}

func TestParserHoldsEachTokenToItsKey(t *testing.T) { // V-01
	signer := testSigner(t, ES256)
	token := sign(t, signer, usualClaims())
	var p Parser
	if _, err := p.Parse(token, only(signer.Public())); err != nil {
		t.Fatal(err)
	}
	if _, known := p.find(token[:strings.IndexByte(token, '.')]); !known {
		t.Fatal("the header of a genuine token is not known, the test shows nothing")
	}
	other := newTestSigner(t, signer.Public().ID, testEdKey()).Public()
	for name, test := range map[string]struct {
		token string
		key   PublicKey
		want  error
	}{
		"the key is gone":              {token, PublicKey{}, ErrUnknownKey},
		"the key is of another kind":   {token, other, ErrMalformed},
		"the signature is wrong":       {token[:len(token)-86] + strings.Repeat("A", 86), signer.Public(), ErrSignature},
		"the signature is not encoded": {token[:len(token)-1] + "!", signer.Public(), ErrMalformed},
	} {
		if _, err := p.Parse(test.token, only(test.key)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// Strangers' headers are not known, so they push none out.
func TestParserKnowsGenuineHeadersAlone(t *testing.T) { // I-9
	signer := testSigner(t, ES256)
	token := sign(t, signer, usualClaims())
	keys := only(signer.Public())
	var p Parser
	if _, err := p.Parse(token, keys); err != nil {
		t.Fatal(err)
	}
	head := token[:strings.IndexByte(token, '.')]
	for range 3 * len(p.headers) {
		if _, err := p.Parse(forge(t, testSigner(t, EdDSA), headerOf(ES256), claimsJSON("", "")), keys); err == nil {
			t.Fatal("a forged token is accepted")
		}
	}
	if _, known := p.find(head); !known {
		t.Error("forged tokens pushed a genuine header out")
	}
	p.keep(header{}, strings.Repeat("x", maxHeader+1))
	if _, known := p.find(strings.Repeat("x", maxHeader+1)); known {
		t.Error("a long header is held")
	}
}

func TestPlain(t *testing.T) {
	for c := range 256 {
		want := c >= ' ' && c < 0x80 && c != '\\'
		for at := range 17 {
			text := []byte("{\"a\":\"bcdefgh~\"}!"[:17])
			text[at] = byte(c)
			if got := plain(string(text)); got != want {
				t.Fatalf("plain is %v with %#x at %d, want %v", got, c, at, want)
			}
		}
	}
	if !plain("") {
		t.Error("nothing is not plain")
	}
}
