package web

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever colour an operator has, what is made of it can be read and seen, in light
// and dark (WCAG 2.2: 1.4.3, 1.4.11).
func TestAnyColorIsReadable(t *testing.T) {
	property := regexp.MustCompile(`(--[a-z-]+): (#[0-9a-f]{6});`)
	rapid.Check(t, func(t *rapid.T) {
		var brand shade
		for i := range brand {
			brand[i] = float64(rapid.IntRange(0, 255).Draw(t, "part"))
		}
		for name, s := range map[string]scheme{"light": lightScheme, "dark": darkScheme} {
			made := map[string]shade{}
			for _, match := range property.FindAllStringSubmatch(s.colors(brand), -1) {
				made[match[1]], _ = parseShade(match[2])
			}
			for _, pair := range []struct {
				front, back string
				least       float64
			}{
				{"--on-accent", "--accent", 4.5},
				{"--on-accent", "--accent-over", 4.5},
				{"--link", "card", 4.5},
				{"--link", "ground", 4.5},
				{"--link-over", "card", 4.5},
				{"--link-over", "ground", 4.5},
				{"--focus", "card", 3},
				{"--focus", "ground", 3},
				{"--accent-edge", "card", 3},
			} {
				back, found := made[pair.back]
				if !found {
					back = map[string]shade{"card": s.card, "ground": s.ground}[pair.back]
				}
				if got := contrast(made[pair.front], back); got < pair.least {
					t.Errorf("%v in %s: %s on %s has the contrast %.2f, want %.1f", brand, name, pair.front, pair.back, got, pair.least)
				}
			}
		}
	})
}

// The stylesheet has the grounds that the brand's colours are made for, and its own
// colours can be read, too.
func TestOwnColorsAreReadable(t *testing.T) {
	style, err := assets.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, _ := strings.Cut(string(style), "@media (prefers-color-scheme: dark)")
	dark, _, _ := strings.Cut(rest, "*, *::before")
	property := regexp.MustCompile(`(--[a-z-]+): (#[0-9a-f]{6});`)
	for name, c := range map[string]struct {
		text string
		made scheme
	}{"light": {light, lightScheme}, "dark": {dark, darkScheme}} {
		own := map[string]shade{}
		for _, match := range property.FindAllStringSubmatch(c.text, -1) {
			own[match[1]], _ = parseShade(match[2])
		}
		if own["--card"] != c.made.card || own["--ground"] != c.made.ground {
			t.Errorf("in %s brands are made for other grounds than %v and %v", name, own["--card"], own["--ground"])
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"--ink", "--card", 7},
			{"--ink", "--ground", 7},
			{"--soft", "--card", 4.5},
			{"--soft", "--ground", 4.5},
			{"--on-accent", "--accent", 4.5},
			{"--on-accent", "--accent-over", 4.5},
			{"--link", "--card", 4.5},
			{"--link", "--ground", 4.5},
			{"--link-over", "--card", 4.5},
			{"--link-over", "--ground", 4.5},
			{"--wrong", "--card", 4.5},
			{"--wrong", "--wrong-ground", 4.5},
			{"--done", "--done-ground", 4.5},
			{"--edge", "--card", 3},
			{"--edge", "--ground", 3},
			{"--focus", "--card", 3},
			{"--focus", "--ground", 3},
		} {
			front, known := own[pair.front]
			if got := contrast(front, own[pair.back]); !known || got < pair.least {
				t.Errorf("%s: %s on %s has the contrast %.2f, want %.1f", name, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

// A logo is an image by what is in it, whatever it is called.
func TestLogoIsAnImage(t *testing.T) {
	for text, want := range map[string]string{
		"<svg xmlns=\"x\"/>":                             "image/svg+xml",
		"\xef\xbb\xbf \n<?xml version=\"1.0\"?>\n<svg/>": "image/svg+xml",
		"\x89PNG\r\n\x1a\nrest":                          "image/png",
		"\xff\xd8\xff\xe0rest":                           "image/jpeg",
		"RIFF....WEBPVP8 ":                               "image/webp",
		"<!doctype html><svg/>":                          "",
		"<html><svg/></html>":                            "",
		"GIF89a":                                         "",
		"":                                               "",
		"<svg>" + strings.Repeat("x", maxLogo):           "",
	} {
		got, err := logoMedia([]byte(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q is %q (%v), want %q", text, got, err, want)
		}
	}
}
