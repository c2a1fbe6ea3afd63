package session

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// FuzzCutCookie: whatever passes for a cookie is the one spelling of what it says.
func FuzzCutCookie(f *testing.F) { // V-13
	good := cookieValue(credential.NewID(credential.Session), credential.NewSecret())
	f.Add(good)
	for _, seed := range mutants(good) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ordinal, secret, ok := cutCookie(text)
		id := credential.Session + ordinal
		if ok && (cookieValue(id, secret) != text || !credential.IsID(credential.Session, id)) {
			t.Errorf("%q has a second spelling", text)
		}
	})
}

// FuzzCutCode: whatever passes for a code is the one spelling of what it says.
func FuzzCutCode(f *testing.F) { // V-13
	good := codePrefix + credential.NewOrdinal() + credential.NewSecret().Encode()
	f.Add(good)
	for _, seed := range mutants(good) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, ok := cutCode(text)
		if ok && codePrefix+id[len(codeID):]+secret.Encode() != text {
			t.Errorf("%q has a second spelling", text)
		}
	})
}

// FuzzParseRefreshToken: whatever passes for a refresh token is the one spelling of
// what it says.
func FuzzParseRefreshToken(f *testing.F) { // V-13
	keys := testKeys(f)
	good := keys.encode(refreshToken{grantID: credential.NewID(credential.Grant), generation: 3, secret: credential.NewSecret()})
	f.Add(good)
	for _, seed := range mutants(good) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, ok := keys.parse(text)
		if ok && (keys.encode(token) != text || !credential.IsID(credential.Grant, token.grantID)) {
			t.Errorf("%q has a second spelling", text)
		}
	})
}

// FuzzRefreshTokenChanged makes genuine tokens, and from each one that differs in
// one place. The first is read as it was made, and the second by nobody.
func FuzzRefreshTokenChanged(f *testing.F) {
	keys := testKeys(f)
	f.Add(uint32(1), []byte("a secret"), uint(40), byte('A'))
	f.Add(uint32(1<<32-1), []byte{}, uint(0), byte(0))
	f.Add(uint32(3), []byte("\xff"), uint(refreshLength-1), byte('='))
	f.Fuzz(func(t *testing.T, generation uint32, secret []byte, place uint, other byte) {
		at := int(place % uint(refreshLength))
		token := refreshToken{grantID: credential.NewID(credential.Grant), generation: generation}
		copy(token.secret[:], secret)
		text := keys.encode(token)
		if got, ok := keys.parse(text); !ok || got != token {
			t.Fatalf("%+v does not come back", token)
		}
		changed := []byte(text)
		changed[at] = other
		if _, ok := keys.parse(string(changed)); ok && string(changed) != text {
			t.Errorf("%q passes for genuine, and %q was made", changed, text)
		}
		if _, ok := keys.parse(text[:at]); ok {
			t.Errorf("%d characters of %q pass for genuine", at, text)
		}
	})
}

// FuzzMergePatch gives documents and merge patches (RFC 7396). A patch applied
// twice is the patch applied once, what it names is as it says, and what it does not
// name is as it was.
func FuzzMergePatch(f *testing.F) {
	for _, seed := range [][2]string{
		{`{}`, `{"cart":["umbrella"]}`},
		{`{"cart":["umbrella"],"note":"x"}`, `{"note":null}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`},
		{`{"a":"foo"}`, `null`},
		{`{"e":null}`, `{"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`},
		{`{"n":12345678901234567890.10}`, `{"m":1e400}`},
		{`1`, `{"a":null,"a":1}`},
		{`"\u2028<>&"`, `{"":{"":""}}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		if !json.Valid(document) || !json.Valid(patch) {
			return // no request gets this far with it
		}
		once, err := mergePatch(document, patch)
		if err != nil {
			t.Fatalf("%s with %s: %v", document, patch, err)
		}
		twice, err := mergePatch(once, patch)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%s with %s is %s, and with it again %s, %v", document, patch, once, twice, err)
		}
		before, merged, change := read(t, document), read(t, once), read(t, patch)
		changes, ok := change.(map[string]any)
		if !ok {
			if !reflect.DeepEqual(merged, change) {
				t.Errorf("%s with %s is %s", document, patch, once)
			}
			return
		}
		after, ok := merged.(map[string]any)
		if !ok {
			t.Fatalf("%s with %s is %s", document, patch, once)
		}
		old, _ := before.(map[string]any)
		for name, value := range old {
			if _, named := changes[name]; !named && !reflect.DeepEqual(after[name], value) {
				t.Errorf("%s with %s is %s: %q is not as it was", document, patch, once, name)
			}
		}
		for name, value := range changes {
			_, there := after[name]
			if _, object := value.(map[string]any); there != (value != nil) || !object && !reflect.DeepEqual(after[name], value) {
				t.Errorf("%s with %s is %s: %q is not as it says", document, patch, once, name)
			}
		}
	})
}

func read(t *testing.T, text []byte) any {
	t.Helper()
	document, err := decode(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return document
}
