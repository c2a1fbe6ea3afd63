package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
)

//go:embed templates
var ours embed.FS

// Kinds returns all kinds of messages.
func Kinds() []Kind {
	return []Kind{
		FinishSignUp, AccountExists, VerifyEmail, ResetPassword, ChangeEmail, EmailChanging,
		EmailChanged, PasswordChanged, NewDevice, RefreshReused, Invitation,
	}
}

// Links returns the link that a message brings, as a path to be put behind the public
// URL, and its code of six digits where there is one; both are empty for a message that
// brings none. It is called from many goroutines.
type Links func(Message) (path, code string)

// A Site is what mails say about who sends them.
type Site struct {
	PublicURL *url.URL // what all links are made from
	Name      string   // what people call the site; empty: the host of PublicURL
	Color     string   // of buttons, #rrggbb; empty: ours
	Help      string   // where people find help; empty: nowhere
}

// A Writer writes messages: it finds their words. It is safe for concurrent use.
type Writer struct {
	site  Site
	words *catalogue.Catalogue
	links Links
	read  map[Kind]func() (*templates, error) // each when it is first asked for
}

// templates are what a kind of mail is written from.
type templates struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// NewWriter reads the templates: NAME.txt and NAME.html for each kind and for "layout",
// of which those in shadow, an operator's folder, stand in for ours; nil is no folder.
// With a folder each is tried in every language, and an error names the file.
func NewWriter(site Site, words *catalogue.Catalogue, links Links, shadow fs.FS) (*Writer, error) {
	if site.Name == "" {
		site.Name = site.PublicURL.Host
	}
	w := &Writer{
		site: site, words: words, links: links, read: map[Kind]func() (*templates, error){},
	}
	for _, kind := range Kinds() {
		w.read[kind] = sync.OnceValues(func() (*templates, error) { return readTemplates(kind, shadow) })
	}
	if shadow == nil {
		return w, nil
	}
	wrong := unknown(shadow)
	for _, kind := range Kinds() {
		if _, err := w.read[kind](); err != nil {
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return w, w.try()
}

// unknown refuses templates that would stand in for nothing.
func unknown(shadow fs.FS) []error {
	if shadow == nil {
		return nil
	}
	var wrong []error
	for _, pattern := range []string{"*.txt", "*.html"} {
		files, err := fs.Glob(shadow, pattern)
		if err != nil {
			return []error{fmt.Errorf("look for templates of mails: %w", err)}
		}
		for _, file := range files {
			if name := strings.TrimSuffix(file, pattern[1:]); name != "layout" && !slices.Contains(Kinds(), Kind(name)) {
				wrong = append(wrong, fmt.Errorf("mail/%s: there is no mail of this name, only layout, %s", file, kindList()))
			}
		}
	}
	return wrong
}

func kindList() string {
	names := make([]string, len(Kinds()))
	for i, kind := range Kinds() {
		names[i] = string(kind)
	}
	return strings.Join(names, ", ")
}

func readTemplates(kind Kind, shadow fs.FS) (*templates, error) {
	text, html := texttemplate.New(string(kind)), htmltemplate.New(string(kind))
	for _, name := range []string{"layout", string(kind)} {
		source, err := sourceOf(shadow, name+".txt")
		if err != nil {
			return nil, err
		}
		if _, err := text.New(name + ".txt").Parse(source); err != nil {
			return nil, fmt.Errorf("the mail %s.txt: %w", name, err)
		}
		if source, err = sourceOf(shadow, name+".html"); err != nil {
			return nil, err
		}
		if _, err := html.New(name + ".html").Parse(source); err != nil {
			return nil, fmt.Errorf("the mail %s.html: %w", name, err)
		}
	}
	return &templates{text, html}, nil
}

// sourceOf returns a template of the operator, or else ours.
func sourceOf(shadow fs.FS, name string) (string, error) {
	if shadow != nil {
		switch source, err := fs.ReadFile(shadow, name); {
		case err == nil:
			return string(source), nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("read the mail %s: %w", name, err)
		}
	}
	source, err := fs.ReadFile(ours, "templates/"+name)
	if err != nil {
		return "", fmt.Errorf("read the mail %s: %w", name, err)
	}
	return string(source), nil
}

// try writes each kind of message in each language, so that a template that cannot be
// written is found at the start and not with the first person who needs it.
func (w *Writer) try() error {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var wrong []error
	for _, kind := range Kinds() {
		for _, language := range w.words.Languages() {
			m := Message{ID: "trial", Kind: kind, To: "ada@example.com", Language: language.Tag(), Expires: now.Add(time.Hour)}
			if _, err := w.write(Letter{Message: m, Created: now}, "/trial", "000000"); err != nil {
				wrong = append(wrong, err)
				break
			}
		}
	}
	return errors.Join(wrong...)
}

// Write finds the words of a letter, in the language that its reader asked for.
func (w *Writer) Write(l Letter) (Written, error) {
	path, code := w.links(l.Message)
	if l.LinkID != "" && path == "" {
		return Written{}, fmt.Errorf("there is no link for the mail %s", l.Kind)
	}
	return w.write(l, path, code)
}

func (w *Writer) write(l Letter, path, code string) (Written, error) {
	read, known := w.read[l.Kind]
	if !known {
		return Written{}, fmt.Errorf("there is no mail %q", l.Kind)
	}
	from, err := read()
	if err != nil {
		return Written{}, err
	}
	language := w.words.Language(l.Language)
	v := w.view(l, language, path, code)
	out := Written{ID: l.ID, Kind: l.Kind, To: l.To, Language: language.Tag(), Date: l.Created, Link: v.Link, Code: v.Code}
	var subject, plain, html bytes.Buffer
	err = errors.Join(
		from.text.ExecuteTemplate(&subject, "subject", v),
		from.text.ExecuteTemplate(&plain, "layout", v))
	if err == nil {
		v.Subject = line(subject.String())
		err = from.html.ExecuteTemplate(&html, "layout", v)
	}
	if err != nil {
		return Written{}, fmt.Errorf("write the mail %s: %w", l.Kind, err)
	}
	out.Subject, out.Text, out.HTML = v.Subject, strings.TrimSpace(plain.String())+"\n", html.String()
	return out, nil
}

// A view is what templates see.
type view struct {
	Subject string // in the HTML part
	Tag     string // the language
	Dir     string // ltr or rtl
	Site    string // what people call the site
	Host    string // its host
	Home    string // its address
	Account string // the address of the account page
	SignIn  string
	Forgot  string // where one asks for a new password
	Help    string // where people find help; may be empty
	Color   string // of buttons
	OnColor string // of the words on them

	To     string // who gets the mail
	Link   string // where the button leads; may be empty
	Code   string // six digits; may be empty
	Until  string // how long link and code are good
	Email  string // another address that the mail is about; may be empty
	Device string // may be empty
	Place  string // may be empty
	IP     string // may be empty
	When   string // may be empty

	words *catalogue.Language
}

const ourColor = "#1f5c4d"

func (w *Writer) view(l Letter, words *catalogue.Language, path, code string) *view {
	at := func(path string) string { return strings.TrimSuffix(w.site.PublicURL.String(), "/") + path }
	v := &view{
		Tag: words.Tag(), Dir: words.Dir(), Site: w.site.Name, Host: w.site.PublicURL.Host,
		Home: at("/"), Account: at("/account"), SignIn: at("/sign-in"), Forgot: at("/forgot"), Help: w.site.Help,
		Color: w.site.Color, To: l.To, Code: code, Until: words.Moment(l.Expires),
		Email: plain(l.Values["email"]), Device: inert(words.Device(plain(l.Values["device"]))), Place: inert(l.Values["place"]), IP: plain(l.Values["ip"]),
		words: words,
	}
	if v.Color == "" {
		v.Color = ourColor
	}
	v.OnColor = readableOn(v.Color)
	if path != "" {
		v.Link = at(path)
	}
	if when, err := time.Parse(time.RFC3339, l.Values["at"]); err == nil {
		v.When = words.Moment(when)
	}
	return v
}

// T returns a text of the catalogue. All places that a mail can fill are given.
func (v *view) T(key string) string {
	return v.words.Text(key, "site", v.Site, "host", v.Host, "to", v.To, "email", v.Email, "device", v.Device,
		"place", v.Place, "when", v.When, "until", v.Until, "code", v.Code, "address", v.Forgot)
}

// longestValue bounds what a mail repeats of what somebody typed.
const longestValue = 320

// plain returns a value as visible characters on one line.
func plain(value string) string {
	value = line(value)
	if runes := []rune(value); len(runes) > longestValue {
		value = string(runes[:longestValue]) + "…"
	}
	return value
}

// inert is plain for what a stranger may have chosen: programs that make links of
// whatever looks like an address find none in it.
func inert(value string) string { return joined.Replace(plain(value)) }

var joined = strings.NewReplacer(".", ".\u2060", ":", ":\u2060", "/", "/\u2060", "@", "\u2060@\u2060")

// readableOn returns black or white, whichever is easier to read on a colour (WCAG 2
// relative luminance).
func readableOn(color string) string {
	const dark, light = "#0b1512", "#ffffff"
	rgb, err := strconv.ParseUint(strings.TrimPrefix(color, "#"), 16, 32)
	if err != nil {
		return light
	}
	channel := func(shift uint) float64 {
		const squareFrom, gamma = 0.03928, 12.92
		c := float64(rgb>>shift&0xff) / 255
		if c <= squareFrom {
			return c / gamma
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	const even = 0.179 // where both contrasts are the same
	if 0.2126*channel(16)+0.7152*channel(8)+0.0722*channel(0) > even {
		return dark
	}
	return light
}
