package config

import (
	"os"
	"testing"
	"time"
)

func TestRateText(t *testing.T) {
	load := func(text string) (*Loaded, error) {
		return Load(Options{Path: os.DevNull, Flags: map[string]string{"throttle.pair": text}})
	}
	for text, want := range map[string]Rate{
		"10/30s":   {10, 30 * time.Second},
		"1/24h":    {1, 24 * time.Hour},
		"500/10ms": {500, 10 * time.Millisecond},
	} {
		got, err := load(text)
		if err != nil || got.Throttle.Pair != want {
			t.Errorf("%q: %v, want %v", text, err, want)
			continue
		}
		for _, s := range got.Table() {
			if s.Name != "throttle.pair" {
				continue
			}
			if again, err := load(s.Value); err != nil || again.Throttle.Pair != want {
				t.Errorf("%q comes back as %q, %v", text, s.Value, err)
			}
		}
	}
	for _, text := range []string{"", "10", "/", "10/", "/1s", "0/1s", "-1/1s", "10/0s", "10/-1s", "10/25h", "10001/1s", "1.5/1s", "10/1s/1s", "ten/1s"} {
		if got, err := load(text); err == nil {
			t.Errorf("%q was read as %v", text, got.Throttle.Pair)
		}
	}
}
