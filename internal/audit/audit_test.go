package audit

import "testing"

// V-41, V-105: what a stranger sends cannot forge a line, a colour or a direction.
func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"Firefox on Windows": "Firefox on Windows", "Zoë 東京": "Zoë 東京",
		"a\r\nb": `a\u{000d}\u{000a}b`, "\x1b[31m": `\u{001b}[31m`, "a\u202eb": `a\u{202e}b`,
		"\xff": `\ufffd`, "\x00": `\u{0000}`, "\U000e0001": `\u{0e0001}`, "\u00a0": `\u{00a0}`,
	} {
		if got := Safe(in, 100); got != want {
			t.Errorf("%q is kept as %q, want %q", in, got, want)
		}
	}
	if got := Safe("東京", 5); got != "東" {
		t.Errorf("cut within a character: %q", got)
	}
	if got := Safe("ab\ncd", 4); got != "ab" {
		t.Errorf("cut within an escape: %q", got)
	}
}
