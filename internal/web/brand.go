package web

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// A Brand is what people see of the operator.
type Brand struct {
	Name    string // empty: the host of the public URL
	Logo    []byte // an image; empty: our mark and the name
	Color   string // #rrggbb in small letters; empty: ours
	Privacy string // addresses to link to; empty: none
	Terms   string
	Help    string
}

// maxLogo keeps a page with all that it loads small.
const maxLogo = 32 << 10

// imagePolicy is for an image that is opened as a page: it may colour itself, and a
// script in it does not run.
const imagePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"

var errLogo = errors.New("the logo is none of SVG, PNG, JPEG and WebP")

// logoMedia returns the media type of an image by what is in it.
func logoMedia(image []byte) (string, error) {
	if len(image) > maxLogo {
		return "", fmt.Errorf("the logo has %d bytes, and at most %d would keep pages quick", len(image), maxLogo)
	}
	switch media := http.DetectContentType(image); media {
	case "image/png", "image/jpeg", "image/webp":
		return media, nil
	}
	start := bytes.TrimSpace(bytes.TrimPrefix(image, []byte("\xef\xbb\xbf")))
	if bytes.HasPrefix(start, []byte("<svg")) || bytes.HasPrefix(start, []byte("<?xml")) && bytes.Contains(start, []byte("<svg")) {
		return "image/svg+xml", nil
	}
	return "", errLogo
}

// Check returns what is wrong with the logo: what is no image, or too large.
func (b Brand) Check() error {
	if len(b.Logo) == 0 {
		return nil
	}
	_, err := logoMedia(b.Logo)
	return err
}

// A shade is a colour: red, green and blue, 0 to 255.
type shade [3]float64

func parseShade(text string) (shade, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 16, 24)
	if err != nil || len(text) != len("#rrggbb") {
		return shade{}, fmt.Errorf("%q is no colour such as #1f5c4d", text)
	}
	return shade{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}, nil
}

func (c shade) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// luminance is that of WCAG 2.2.
func (c shade) luminance() float64 {
	var linear [3]float64
	for i, part := range c {
		part = math.Round(part) / 255
		if linear[i] = part / 12.92; part > 0.04045 {
			linear[i] = math.Pow((part+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// contrast is the contrast ratio of WCAG 2.2, 1 to 21.
func contrast(a, b shade) float64 {
	light, dark := max(a.luminance(), b.luminance()), min(a.luminance(), b.luminance())
	return (light + 0.05) / (dark + 0.05)
}

// toward returns c on its way to another colour.
func (c shade) toward(other shade, part float64) shade {
	for i := range c {
		c[i] += (other[i] - c[i]) * part
	}
	return c
}

// Contrasts that are held (WCAG 2.2: 1.4.3 and 1.4.11, with a little to spare).
const (
	readable = 4.6
	visible  = 3.1
)

var black, white = shade{}, shade{255, 255, 255}

// against moves c towards ink until it contrasts with all grounds as it must.
func (c shade) against(ink shade, ratio float64, grounds ...shade) shade {
	for part := 0.0; part < 1; part += 0.02 {
		moved, enough := c.toward(ink, part), true
		for _, ground := range grounds {
			enough = enough && contrast(moved, ground) >= ratio
		}
		if enough {
			return moved
		}
	}
	return ink
}

// A scheme is the grounds of the stylesheet on which the brand's colour must show.
type scheme struct{ ink, card, ground shade }

var (
	lightScheme = scheme{ink: black, card: white, ground: shade{0xf6, 0xf6, 0xf3}}
	darkScheme  = scheme{ink: white, card: shade{0x1a, 0x1d, 0x20}, ground: shade{0x12, 0x14, 0x16}}
)

// colors makes of one colour all properties of the stylesheet that derive from it, so
// that any colour can be read: links in a darker or lighter shade of it, and on
// buttons white or black, whichever can be told from it.
func (s scheme) colors(brand shade) string {
	link := brand.against(s.ink, readable, s.card, s.ground)
	button := brand
	if s.ink == white { // a dark button on a dark card is no button to see
		button = brand.against(s.ink, visible, s.card, s.ground)
	}
	on := white
	if contrast(button, white) < contrast(button, black) {
		on = black
	}
	away := white // the button under the pointer moves away from its text, so that it stays readable
	if on == white {
		away = black
	}
	over := button.toward(away, 0.18)
	edge := button.against(s.ink, visible, s.card, s.ground)
	return fmt.Sprintf("--accent: %v; --accent-over: %v; --accent-edge: %v; --on-accent: %v; --link: %v; --link-over: %v; --focus: %v;",
		button, over, edge, on, link, link.toward(s.ink, 0.35), link)
}

// style is what the brand adds to the stylesheet.
func (b Brand) style() (string, error) {
	if b.Color == "" {
		return "", nil
	}
	c, err := parseShade(b.Color)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("\n:root { %s }\n@media (prefers-color-scheme: dark) { :root { %s } }\n", lightScheme.colors(c), darkScheme.colors(c)), nil
}

// footLinks are the links at the end of each page.
func (b Brand) footLinks() []footLink {
	var out []footLink
	for _, l := range []footLink{{b.Privacy, "page.privacy"}, {b.Terms, "page.terms"}, {b.Help, "page.help"}} {
		if l.Address != "" {
			out = append(out, l)
		}
	}
	return out
}

// A footLink is one of them; Text is a key of the catalogue.
type footLink struct{ Address, Text string }
