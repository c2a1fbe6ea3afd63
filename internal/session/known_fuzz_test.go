package session

import (
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzDeviceCookie: what passes for a cookie of ours has one spelling, makes nobody known
// but whose tag is in it, and becomes one that is read again (V-13).
func FuzzDeviceCookie(f *testing.F) {
	key, err := newDeviceKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	const ada, grace = "usr_ada", "usr_grace"
	_, one := key.recognise("", grace)
	_, two := key.recognise(one, ada)
	for _, seed := range []string{"", one, two, one + "." + one, two + ".", "." + one, one[:21], strings.Repeat(two+".", 3), strings.Repeat("A", 22), strings.Repeat("A", 21) + "B", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		tags := cutTags(value)
		if tags != nil && strings.Join(tags, ".") != value {
			t.Errorf("%q has a second spelling", value)
		}
		known, next := key.recognise(value, ada)
		if known != (tags != nil && strings.Contains(value, key.tag(ada))) {
			t.Errorf("%q makes ada known: %v", value, known)
		}
		if again, same := key.recognise(next, ada); !again || same != next || len(next) > maxTags*(tagLength+1)-1 {
			t.Errorf("%q becomes %q, and that %v %q", value, next, again, same)
		}
		for _, tag := range tags {
			if raw, err := base64.RawURLEncoding.DecodeString(tag); err != nil || base64.RawURLEncoding.EncodeToString(raw) != tag {
				t.Errorf("%q has a second spelling", tag)
			}
			if !strings.Contains(next, tag) && len(tags) < maxTags {
				t.Errorf("%q becomes %q: somebody is forgotten", value, next)
			}
		}
	})
}
