package jwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// A forger makes the tokens of testdata/vectors, the same each time.
type forger struct {
	t       *testing.T
	signers map[Algorithm]*Signer
	other   *Signer // ES256, not the key of its id
	rows    []vector
}

func newForger(t *testing.T) *forger {
	other, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed("other"))
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{t: t, signers: map[Algorithm]*Signer{}}
	f.other = newTestSigner(t, testKeyIDs[ES256], repeatable{other})
	f.signers[ES256] = newTestSigner(t, testKeyIDs[ES256], repeatable{testECKey(t)})
	f.signers[EdDSA] = testSigner(t, EdDSA)
	f.signers[RS256] = testSigner(t, RS256)
	return f
}

// all returns every row.
func (f *forger) all() []vector {
	f.accepted()
	f.claimValues()
	f.algorithms()
	f.headers()
	f.keyIDs()
	f.signatures()
	f.forms()
	f.json()
	f.claimTypes()
	f.kinds()
	return f.rows
}

func (f *forger) row(id, name, verdict, token string) {
	f.rows = append(f.rows, vector{Name: name, ID: id, Token: token, Verdict: verdict})
}

// changed adds a token that an honest signer made.
func (f *forger) changed(id, name, verdict string, change func(*Claims)) {
	c := leastClaims()
	change(&c)
	f.row(id, name, verdict, sign(f.t, f.signers[ES256], c))
	if verdict == "accept" {
		e := encoder{}
		if err := e.claims(&c); err != nil {
			f.t.Fatal(err)
		}
		f.rows[len(f.rows)-1].Claims = e.out
	}
}

// claims adds a well-signed token with these claims.
func (f *forger) claims(id, name, verdict, claims string) {
	f.row(id, name, verdict, forge(f.t, f.signers[ES256], headerOf(ES256), claims))
	if verdict == "accept" {
		f.rows[len(f.rows)-1].Claims = compact(f.t, claims)
	}
}

// header adds a well-signed token with this header and good claims.
func (f *forger) header(id, name, verdict, header string) {
	claims := claimsJSON("", "")
	f.row(id, name, verdict, forge(f.t, f.signers[ES256], header, claims))
	if verdict == "accept" {
		f.rows[len(f.rows)-1].Claims = compact(f.t, claims)
	}
}

// good returns the three parts of a token that is good.
func (f *forger) good(algorithm Algorithm) (header, claims, signature string) {
	parts := strings.Split(sign(f.t, f.signers[algorithm], leastClaims()), ".")
	return parts[0], parts[1], parts[2]
}

func (f *forger) accepted() {
	for _, algorithm := range []Algorithm{ES256, EdDSA, RS256} {
		f.row("JBCP-1", "usual "+string(algorithm), "accept", sign(f.t, f.signers[algorithm], leastClaims()))
		f.rows[len(f.rows)-1].Claims = compact(f.t, claimsJSON("", ""))
	}
	f.header("V-17", "header in another order with white space", "accept",
		"{ \"typ\" : \"at+jwt\",\r\n\t\"kid\":\"test-es256\",\"alg\":\"ES256\" } ")
	f.header("V-17", "header with escapes", "accept", `{"\u0061lg":"ES\u003256","kid":"test\u002des256","typ":"at+jwt"}`)
	f.changed("AT-1", "all claims", "accept", func(c *Claims) { *c = usualClaims() })
	f.changed("AT-1", "third party, without sid", "accept", func(c *Claims) { *c = usualClaims(); c.SessionID = "" })
	f.changed("AT-2", "a client for itself, without gid and sid", "accept", func(c *Claims) {
		*c = usualClaims()
		c.Subject, c.ClientID, c.GrantID, c.SessionID, c.AuthTime, c.ACR, c.AMR = "cli_01", "cli_01", "", "", 0, "", nil
	})
	f.changed("V-15", "several audiences", "accept", func(c *Claims) { c.Audience = []string{"stock", testAudience} })
	f.claims("V-15", "list of one audience", "accept", claimsJSON("aud", `["orders"]`))
	f.changed("AT-1", "other claims", "accept", func(c *Claims) {
		c.Extra = map[string]any{
			"email": "ada@example.com", "email_verified": true, "age": 36.5, "none": nil,
			"roles": []any{"admin", 7, map[string]any{"in": "stock"}}, "Sub": "names have case",
		}
	})
	f.claims("V-17", "escapes and characters of all sizes", "accept",
		claimsJSON("name", `"\"\\\/\b\f\n\r\t\u00e9é€\ud83d\ude00😀\u0000\u007f"`))
	f.claims("V-17", "numbers of all forms", "accept", claimsJSON("n", `[0,-0,1.5,-2e3,1E+2,1e-7,123456789012345678]`))
	f.claims("V-17", "16 levels", "accept", claimsJSON("deep", strings.Repeat("[", 15)+strings.Repeat("]", 15)))
	f.claims("V-17", "lists and objects beside one another", "accept", claimsJSON("wide", "["+strings.Repeat("[],", 20)+strings.Repeat("{},", 20)+"0]"))
	f.claims("V-17", "100 members", "accept", claimsJSON("many", members(92)))
	f.claims("V-17", "white space", "accept", "\n{ \"x\" : [ ] ,\t"+claimsJSON("", "")[1:]+"\r\n ")
	f.claims("V-17", "optional claims that are empty", "accept",
		fmt.Sprintf(`{"iss":%q,"sub":"a","aud":"orders","exp":%d,"iat":%d,"jti":"b","client_id":"c","scope":"","amr":[],"nbf":0}`, testIssuer, testNow+600, testNow))
}

// members returns an object of n members.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func (f *forger) claimValues() {
	f.changed("V-14", "last second", "accept", func(c *Claims) { c.ExpiresAt = testNow + 1 })
	f.changed("V-14", "expires this second", "expired", func(c *Claims) { c.ExpiresAt = testNow })
	f.changed("V-14", "expired within the leeway", "expired", func(c *Claims) { c.ExpiresAt = testNow - 1 })
	f.changed("V-14", "expired", "expired", func(c *Claims) { c.ExpiresAt = testNow - 86400 })
	f.claims("V-16", "exp is zero", "expired", claimsJSON("exp", "0"))
	f.changed("V-16", "exp is the largest there is", "accept", func(c *Claims) { c.ExpiresAt = maxSeconds })
	f.changed("V-16", "nbf is now", "accept", func(c *Claims) { c.NotBefore = testNow })
	f.changed("V-16", "nbf within the leeway", "accept", func(c *Claims) { c.NotBefore = testNow + 5 })
	f.changed("V-16", "nbf beyond the leeway", "not_yet", func(c *Claims) { c.NotBefore = testNow + 6 })
	f.changed("V-16", "iat within the leeway", "accept", func(c *Claims) { c.IssuedAt = testNow + 5 })
	f.changed("V-16", "iat beyond the leeway", "not_yet", func(c *Claims) { c.IssuedAt = testNow + 6 })
	f.changed("AT-3", "issuer with a slash", "issuer", func(c *Claims) { c.Issuer += "/" })
	f.changed("AT-3", "issuer in upper case", "issuer", func(c *Claims) { c.Issuer = "https://AUTH.example.com" })
	f.changed("AT-3", "other issuer, expired", "issuer", func(c *Claims) { c.Issuer, c.ExpiresAt = "https://evil.example", 1 })
	f.changed("V-15", "other audience", "audience", func(c *Claims) { c.Audience = []string{"stock"} })
	f.changed("V-15", "audience in upper case", "audience", func(c *Claims) { c.Audience = []string{"Orders"} })
	f.changed("V-15", "part of the audience", "audience", func(c *Claims) { c.Audience = []string{"order", "orders2", " orders"} })
	f.changed("V-15", "other audience, expired", "audience", func(c *Claims) { c.Audience, c.ExpiresAt = []string{"stock"}, 1 })
}

func (f *forger) algorithms() {
	_, claims, signature := f.good(ES256)
	for _, name := range []string{"none", "None", "NONE", "nOnE", ""} {
		header := encode(fmt.Sprintf(`{"alg":%q,"kid":"test-es256","typ":"at+jwt"}`, name))
		f.row("V-01", fmt.Sprintf("alg %q without signature", name), "malformed", header+"."+claims+".")
		f.row("V-01", fmt.Sprintf("alg %q with a signature", name), "malformed", header+"."+claims+"."+signature)
	}
	header, _, _ := f.good(ES256)
	f.row("V-01", "signature cut off", "malformed", header+"."+claims+".")
	f.header("V-01", "no alg", "malformed", `{"kid":"test-es256","typ":"at+jwt"}`)
	f.header("V-01", "alg null", "malformed", `{"alg":null,"kid":"test-es256","typ":"at+jwt"}`)
	f.header("V-01", "alg list", "malformed", `{"alg":["ES256"],"kid":"test-es256","typ":"at+jwt"}`)
	for _, name := range []string{"es256", "ES256 ", "ES384", "ES256K", "PS256", "RS512", "Ed25519", "HS256", "ECDH-ES"} {
		f.header("JBCP-1", fmt.Sprintf("alg %q", name), "malformed", fmt.Sprintf(`{"alg":%q,"kid":"test-es256","typ":"at+jwt"}`, name))
	}
	for secretName, secret := range f.publicTexts() {
		header := encode(`{"alg":"HS256","kid":"test-rs256","typ":"at+jwt"}`)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(header + "." + claims))
		f.row("V-02", "HS256 keyed with our "+publicTextNames[secretName], "malformed", header+"."+claims+"."+encode(string(mac.Sum(nil))))
	}
	for _, pair := range [][2]Algorithm{{ES256, EdDSA}, {EdDSA, ES256}, {ES256, RS256}, {RS256, ES256}, {RS256, EdDSA}} {
		header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, pair[0], testKeyIDs[pair[1]])
		f.row("JBCP-1", fmt.Sprintf("alg %s, key %s", pair[0], pair[1]), "malformed",
			forge(f.t, f.signers[pair[0]], header, claimsJSON("", "")))
	}
}

var publicTextNames = [...]string{"PEM", "DER", "JWK", "modulus"}

// publicTexts returns our RSA key in the forms in which confused verifiers use
// it as a secret.
func (f *forger) publicTexts() [4][]byte {
	key := &testRSAKey(f.t).PublicKey
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	jwk, err := f.signers[RS256].Public().members()
	if err != nil {
		f.t.Fatal(err)
	}
	return [4][]byte{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), der, []byte("{" + jwk + "}"), key.N.Bytes()}
}

func (f *forger) headers() {
	own, err := f.other.Public().members()
	if err != nil {
		f.t.Fatal(err)
	}
	const start = `{"alg":"ES256","kid":"test-es256","typ":"at+jwt",`
	embedded := start + `"jwk":{` + own + `}}`
	f.row("V-03", "jwk of the forger", "malformed", forge(f.t, f.other, embedded, claimsJSON("", "")))
	for _, h := range []struct{ id, member string }{
		{"V-03", `"x5c":["MIIB"]`},
		{"V-03", `"x5t":"AAAA"`},
		{"V-03", `"x5t#S256":"AAAA"`},
		{"V-05", `"jku":"https://evil.example/jwks.json"`},
		{"V-05", `"x5u":"https://evil.example/cert.pem"`},
		{"V-11", `"crit":[]`},
		{"V-11", `"crit":["exp"],"exp":1`},
		{"V-11", `"crit":["alg"]`},
		{"V-11", `"crit":["exp","exp"],"exp":1`},
		{"V-11", `"crit":["absent"]`},
		{"V-11", `"crit":["b64"],"b64":false`},
		{"V-11", `"crit":null`},
		{"V-11", `"b64":true`},
		{"JBCP-3", `"zip":"DEF"`},
		{"JBCP-9", `"cty":"JWT"`},
		{"JBCP-9", `"enc":"A256GCM"`},
		{"V-17", `"nonce":"a"`},
		{"V-17", `"":""`},
		{"JBCP-10", `"alg":"ES256"`},
		{"JBCP-10", `"kid":"test-eddsa"`},
		{"JBCP-10", `"\u0074yp":"at+jwt"`},
	} {
		f.header(h.id, "header with "+h.member, "malformed", start+h.member+"}")
	}
}

func (f *forger) keyIDs() {
	for _, kid := range [][2]string{
		{"of nobody", "test-unknown"}, {"in another case", "TEST-ES256"}, {"of 128 characters", strings.Repeat("k", 128)}, {"of dots", ".."},
	} {
		f.header("V-20", "kid "+kid[0], "unknown_key", fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"}`, kid[1]))
	}
	for _, kid := range []string{
		`""`, `null`, `7`, `["test-es256"]`, `"` + strings.Repeat("k", 129) + `"`, `"../../etc/passwd"`, `"test-es256\u0000"`, `"test-es256 "`,
		`"' OR 1=1 --"`, `"|id"`, `"$(id)"`, `"https://evil.example/k"`, `"é"`, `"a/b"`, `"a+b="`, `"test-es256\n"`,
	} {
		name := kid
		if len(kid) > 100 {
			name = "of 129 characters"
		}
		f.header("V-04", "kid "+name, "malformed", `{"alg":"ES256","kid":`+kid+`,"typ":"at+jwt"}`)
	}
	f.header("V-04", "no kid", "malformed", `{"alg":"ES256","typ":"at+jwt"}`)
	expired := leastClaims()
	expired.ExpiresAt = 1
	unknown := newTestSigner(f.t, "test-unknown", f.other.key)
	f.row("V-14", "unknown key and expired", "unknown_key", sign(f.t, unknown, expired))
	f.row("V-14", "forged and expired", "signature", sign(f.t, f.other, expired))
	f.row("V-14", "forged and malformed claims", "signature", forge(f.t, f.other, headerOf(ES256), `{"exp":"1"}`))
	f.row("V-14", "forged", "signature", sign(f.t, f.other, leastClaims()))
}

func (f *forger) signatures() {
	header, claims, signature := f.good(ES256)
	raw, _ := encoding.DecodeString(signature)
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	n := elliptic.P256().Params().N
	pair := func(r, s *big.Int) []byte {
		b := make([]byte, 64)
		r.FillBytes(b[:32])
		s.FillBytes(b[32:])
		return b
	}
	zero, one := new(big.Int), big.NewInt(1)
	der, _ := appendDER(nil, raw)
	put := func(name, verdict string, signature []byte) {
		f.row("V-07", "ES256 "+name, verdict, header+"."+claims+"."+encode(string(signature)))
	}
	put("r and s zero", "signature", pair(zero, zero))
	put("r zero", "signature", pair(zero, s))
	put("s zero", "signature", pair(r, zero))
	put("r and s one", "signature", pair(one, one))
	put("r is the order", "signature", pair(n, s))
	put("s is the order", "signature", pair(r, n))
	put("s and the order", "signature", pair(r, new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)))
	put("r and s exchanged", "signature", pair(s, r))
	put("in DER", "signature", der)
	put("63 bytes", "signature", raw[:63])
	put("65 bytes", "signature", append([]byte{0}, raw...))
	put("65 bytes, a zero before s", "signature", slices.Concat(raw[:32], []byte{0}, raw[32:]))
	put("66 bytes, both with a zero in front", "signature", slices.Concat([]byte{0}, raw[:32], []byte{0}, raw[32:]))
	put("one byte", "signature", []byte{0})
	put("one bit changed", "signature", append([]byte{raw[0] ^ 1}, raw[1:]...))
	put("the other s, which ECDSA allows", "accept", pair(r, new(big.Int).Sub(n, s)))
	f.rows[len(f.rows)-1].Claims = compact(f.t, claimsJSON("", ""))

	header, claims, signature = f.good(EdDSA)
	raw, _ = encoding.DecodeString(signature)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	scalar := new(big.Int).Add(new(big.Int).SetBytes(reverse(raw[32:])), order)
	larger := slices.Concat(raw[:32], reverse(scalar.FillBytes(make([]byte, 32))))
	f.row("V-07", "EdDSA s above the order", "signature", header+"."+claims+"."+encode(string(larger)))
	f.row("V-07", "EdDSA zeros", "signature", header+"."+claims+"."+encode(string(make([]byte, 64))))
	f.row("V-07", "EdDSA 63 bytes", "signature", header+"."+claims+"."+encode(string(raw[:63])))
	header, claims, signature = f.good(RS256)
	raw, _ = encoding.DecodeString(signature)
	f.row("V-07", "RS256 with a zero in front", "signature", header+"."+claims+"."+encode("\x00"+string(raw)))
	f.row("V-07", "RS256 zeros", "signature", header+"."+claims+"."+encode(string(make([]byte, len(raw)))))
	f.row("V-07", "RS256 one byte short", "signature", header+"."+claims+"."+encode(string(raw[:len(raw)-1])))
}

func reverse(b []byte) []byte {
	r := make([]byte, len(b))
	for i, c := range b {
		r[len(b)-1-i] = c
	}
	return r
}

func (f *forger) forms() {
	h, c, s := f.good(ES256)
	good := h + "." + c + "." + s
	for _, form := range [][2]string{
		{"empty", ""},
		{"one dot", "."},
		{"two dots", ".."},
		{"many dots", strings.Repeat(".", 300)},
		{"one part", h},
		{"two parts", h + "." + c},
		{"four parts", good + "." + s},
		{"a dot at the end", good + "."},
		{"a dot in front", "." + good},
		{"no header", "." + c + "." + s},
		{"no claims", h + ".." + s},
		{"five parts, as a JWE", good + "." + c + "." + s},
		{"space in front", " " + good},
		{"space at the end", good + " "},
		{"line break at the end", good + "\n"},
		{"line break in the claims", h + "." + c[:40] + "\n" + c[40:] + "." + s},
		{"CRLF in the signature", h + "." + c + "." + s[:4] + "\r\n" + s[4:]},
		{"four line breaks in the header", h[:4] + "\n\n\n\n" + h[4:] + "." + c + "." + s},
		{"Bearer in front", "Bearer " + good},
		{"percent-encoded", strings.ReplaceAll(good, ".", "%2E")},
		{"NUL at the end", good + "\x00"},
		{"padding", good + "=="},
		{"padded header", h + "=." + c + "." + s},
		{"padded claims", h + "." + c + "=." + s},
		{"other alphabet", h + "." + c + "." + base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 32))},
		{"star", h + "." + c + "." + s[:len(s)-1] + "*"},
		{"signature with bits to spare", good[:len(good)-1] + next(s)},
		{"a lonely character", good + "AAA"},
		{"not ASCII", good[:len(good)-1] + "é"},
		{"JSON serialisation", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, h, c, s)},
		{"general JSON serialisation", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, c, h, s)},
	} {
		f.row("V-17", "form: "+form[0], "malformed", form[1])
	}
	f.claims("V-17", "form: token as a string within a token", "malformed", `"`+good+`"`)
	f.claims("V-17", "form: token within a token", "malformed", good)
}

// next changes bits of the last character that carry nothing.
func next(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, part[len(part)-1])|1])
}

func (f *forger) json() {
	usual := claimsJSON("", "")
	for _, c := range [][2]string{
		{"claim twice", claimsJSON("", "")[:len(usual)-1] + `,"sub":"usr_other"}`},
		{"same claim twice", `{"iss":"` + testIssuer + `",` + usual[1:]},
		{"claim twice, once with escapes", `{"\u0073ub":"usr_other",` + usual[1:]},
		{"other claim twice", `{"x":1,"x":1,` + usual[1:]},
		{"other claim twice, once with escapes", `{"x":1,"\u0078":2,` + usual[1:]},
		{"member twice within a claim", claimsJSON("x", `{"a":1,"a":2}`)},
		{"member twice deep within", claimsJSON("x", `[{"b":{"a":1,"c":2,"a":3}}]`)},
		{"claims twice", usual + usual},
		{"something follows", usual + "x"},
		{"NUL follows", usual + "\x00"},
		{"BOM", "\ufeff" + usual},
		{"UTF-16", "\xff\xfe{\x00}\x00"},
		{"a byte that is not UTF-8", claimsJSON("x", "\"\xff\"")},
		{"overlong UTF-8", claimsJSON("x", "\"\xc0\xaf\"")},
		{"surrogates in UTF-8", claimsJSON("x", "\"\xed\xa0\xbd\xed\xb8\x80\"")},
		{"UTF-8 cut off", claimsJSON("x", "\"\xe2\x82\"")},
		{"lone high surrogate", claimsJSON("x", `"\ud83d"`)},
		{"lone low surrogate", claimsJSON("x", `"\ude00"`)},
		{"high surrogate and a letter", claimsJSON("x", `"\ud83d\u0041"`)},
		{"lone surrogate in a name", `{"\ud83d":1,` + usual[1:]},
		{"unknown escape", claimsJSON("x", `"\x41"`)},
		{"escape cut off", claimsJSON("x", `"\u00"`)},
		{"line break in a string", claimsJSON("x", "\"a\nb\"")},
		{"NUL in a string", claimsJSON("x", "\"a\x00b\"")},
		{"single quotes", `{'a':1,` + usual[1:]},
		{"name without quotes", `{a:1,` + usual[1:]},
		{"comma at the end", usual[:len(usual)-1] + ",}"},
		{"comma in front", `{,` + usual[1:]},
		{"no comma", `{"x":1 ` + usual[1:]},
		{"no colon", `{"x" 1,` + usual[1:]},
		{"comment", `{/**/` + usual[1:]},
		{"comma in a list", claimsJSON("x", "[1,]")},
		{"NaN", claimsJSON("x", "NaN")},
		{"Infinity", claimsJSON("x", "-Infinity")},
		{"plus", claimsJSON("x", "+1")},
		{"leading zero", claimsJSON("x", "01")},
		{"no digit before the dot", claimsJSON("x", ".5")},
		{"no digit after the dot", claimsJSON("x", "1.")},
		{"no digit in the exponent", claimsJSON("x", "1e")},
		{"hexadecimal", claimsJSON("x", "0x10")},
		{"too large for a number", claimsJSON("x", "1e400")},
		{"word in upper case", claimsJSON("x", "True")},
		{"word cut off", claimsJSON("x", "tru")},
		{"list", "[" + usual + "]"},
		{"string", `"` + testIssuer + `"`},
		{"null", "null"},
		{"empty object", "{}"},
		{"white space alone", "  "},
		{"cut off", usual[:len(usual)-1]},
		{"cut off in a string", usual[:20]},
		{"form feed as white space", "\f" + usual},
		{"no-break space", "\u00a0" + usual},
		{"17 levels", claimsJSON("x", strings.Repeat("[", 16)+strings.Repeat("]", 16))},
		{"101 members", claimsJSON("x", members(93))},
		{"brackets that do not match", claimsJSON("x", "[}")},
	} {
		f.claims("V-17", "JSON: "+c[0], "malformed", c[1])
	}
}

func (f *forger) claimTypes() {
	for _, value := range []string{
		`"1800000600"`, "1800000600.5", "1800000600.0", "18e8", "1e400", "-1", "-0", "null", "true", "[1800000600]", "{}", "9007199254740992", "18446744073709551617", "01800000600", "", `""`,
	} {
		name := value
		if value == "" {
			name = "missing"
		}
		f.claims("V-16", "exp "+name, "malformed", claimsJSON("exp", value))
	}
	for _, member := range []string{
		`nbf "1800000000"`, `nbf 1800000000.0`, `nbf null`, `nbf -1`, `iat "1800000000"`, `iat 1.8e9`, `iat null`, `iat false`, `auth_time "1"`, `auth_time null`, `auth_time 1.5`,
	} {
		name, value, _ := strings.Cut(member, " ")
		f.claims("V-16", member, "malformed", claimsJSON(name, value))
	}
	for _, value := range []string{`""`, "[]", `[""]`, `["orders",""]`, "7", "null", "true", `[["orders"]]`, `{"orders":true}`, `["orders",7]`, `["orders",null]`} {
		f.claims("V-15", "aud "+value, "malformed", claimsJSON("aud", value))
	}
	for _, name := range []string{"iss", "sub", "aud", "iat", "jti", "client_id"} {
		f.claims("AT-1", "no "+name, "malformed", claimsJSON(name, ""))
	}
	for _, member := range []string{
		`iss ""`, `sub ""`, `jti ""`, `client_id ""`, `sub 7`, `sub null`, `iss ["https://auth.example.com"]`, `jti 7`, `client_id null`, `scope ["read"]`, `scope null`, `sid 7`, `gid {}`, `acr 1`,
		`amr "pwd"`, `amr [1]`, `amr null`, `amr ["pwd",["otp"]]`,
	} {
		name, value, _ := strings.Cut(member, " ")
		f.claims("AT-1", member, "malformed", claimsJSON(name, value))
	}
	f.claims("DP-1", "bound to a key", "malformed", claimsJSON("cnf", `{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`))
}

func (f *forger) kinds() {
	for _, kind := range []string{`"AT+JWT"`, `"application/at+jwt"`, `"Application/AT+jwt"`} {
		f.header("V-18", "typ "+kind, "accept", `{"alg":"ES256","kid":"test-es256","typ":`+kind+`}`)
	}
	for _, kind := range []string{
		`"JWT"`, `"jwt"`, `"logout+jwt"`, `"dpop+jwt"`, `"secevent+jwt"`, `"client-authentication+jwt"`, `"rt+jwt"`, `"statuslist+jwt"`, `"application/jwt"`, `""`, `null`, `7`, `["at+jwt"]`,
		`"at+jwt "`, `" at+jwt"`, `"at+jwt; charset=utf-8"`, `"application/application/at+jwt"`, `"application/"`, `"x/at+jwt"`, `"at jwt"`, `"at+jwt\u0000"`,
	} {
		f.header("V-18", "typ "+kind, "malformed", `{"alg":"ES256","kid":"test-es256","typ":`+kind+`}`)
	}
	f.header("V-18", "no typ", "malformed", `{"alg":"ES256","kid":"test-es256"}`)
}
