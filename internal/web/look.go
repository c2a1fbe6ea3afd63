package web

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
)

//go:embed templates static/style.css static/icon.svg
var assets embed.FS

// pageNames are the pages there are: each has a template of this name.
var pageNames = []string{
	"account", "accounts", "check_mail", "consent", "dev_mail", "error", "forgot", "form_post", "forgot_sent", "logout", "reset", "setup", "sign_in", "sign_up", "signed_out", "verified", "verify",
}

// A look is how pages look: their templates in every language, and what they load.
type look struct {
	pages     map[string]map[string]pageReader // by language and name
	style     document
	icon      document
	logo      document
	logoMedia string
	links     []footLink
}

// A pageReader returns a page, which it reads when it is first asked for: a server
// that shows few pages in one language should not keep all of them in all.
type pageReader func() (*template.Template, error)

// readLook reads all of it, an operator's files over ours. Of those every page is
// tried, so that a mistake is found now and not by the first person who meets it; that
// there is none in ours is for tests to say.
func (s *Server) readLook() error {
	if s.Words == nil {
		words, err := catalogue.Load(nil)
		if err != nil {
			return err
		}
		s.Words = words
	}
	if err := s.readStyle(); err != nil {
		return err
	}
	if err := s.readLogo(); err != nil {
		return err
	}
	s.look.links = s.config.Brand.footLinks()
	s.look.pages = map[string]map[string]pageReader{}
	if err := knownPages(s.config.Pages); err != nil {
		return err
	}
	for _, words := range s.Words.Languages() {
		pages := map[string]pageReader{}
		for _, name := range pageNames {
			pages[name] = sync.OnceValues(func() (*template.Template, error) { return s.readPage(name, words) })
		}
		s.look.pages[words.Tag()] = pages
	}
	if s.config.Pages == nil {
		return nil
	}
	return s.tryPages()
}

// write writes a page.
func (l *look) write(to io.Writer, language, name string, view any) error {
	page, err := l.pages[language][name]()
	if err != nil {
		return err
	}
	return page.ExecuteTemplate(to, "layout", view)
}

// readStyle reads the stylesheet, ours or the operator's in its place, then the
// brand's colours, then what the operator adds.
func (s *Server) readStyle() error {
	style, err := s.asset("static/style.css", "style.css")
	if err != nil {
		return err
	}
	colors, err := s.config.Brand.style()
	if err != nil {
		return err
	}
	style = append(style, colors...)
	if s.config.Pages != nil {
		theme, err := fs.ReadFile(s.config.Pages, "theme.css")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read theme.css: %w", err)
		}
		style = append(append(style, '\n'), theme...)
	}
	s.look.style = newDocument(style)
	icon, err := assets.ReadFile("static/icon.svg")
	if err != nil {
		return fmt.Errorf("read the icon: %w", err)
	}
	s.look.icon = newDocument(icon)
	return nil
}

func (s *Server) readLogo() error {
	logo := s.config.Brand.Logo
	if len(logo) == 0 {
		return nil
	}
	var err error
	if s.look.logoMedia, err = logoMedia(logo); err != nil {
		return err
	}
	s.look.logo = newDocument(logo)
	return nil
}

// asset reads a file of ours, or the operator's that stands in for it.
func (s *Server) asset(ours, name string) ([]byte, error) {
	if s.config.Pages != nil {
		text, err := fs.ReadFile(s.config.Pages, name)
		if err == nil {
			return text, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	text, err := assets.ReadFile(ours)
	if err != nil {
		return nil, fmt.Errorf("read what pages are made of: %w", err)
	}
	return text, nil
}

// knownPages refuses a template that would stand in for nothing.
func knownPages(folder fs.FS) error {
	if folder == nil {
		return nil
	}
	files, err := fs.Glob(folder, "*.html")
	if err != nil {
		return fmt.Errorf("look for templates: %w", err)
	}
	var wrong []error
	for _, file := range files {
		if name := strings.TrimSuffix(file, ".html"); name != "layout" && !slices.Contains(pageNames, name) {
			wrong = append(wrong, fmt.Errorf("%s: there is no page of this name, only layout, %s", file, strings.Join(pageNames, ", ")))
		}
	}
	return errors.Join(wrong...)
}

// readPage reads one page, in one language, with the layout around it.
func (s *Server) readPage(name string, words *catalogue.Language) (*template.Template, error) {
	root := template.New("layout.html").Funcs(s.functions(words))
	for _, file := range []string{"layout.html", name + ".html"} {
		text, err := s.asset("templates/"+file, file)
		if err != nil {
			return nil, err
		}
		t := root
		if file != root.Name() {
			t = root.New(file)
		}
		if _, err := t.Parse(string(text)); err != nil { // it names the file and the line
			return nil, fmt.Errorf("read a page: %w", err)
		}
	}
	return root, nil
}

// functions are what templates can do beside showing what they are given.
func (s *Server) functions(words *catalogue.Language) template.FuncMap {
	return template.FuncMap{
		"t": func(key string, values ...string) (string, error) {
			if !words.Has(key) {
				return "", fmt.Errorf("there is no text %s", key)
			}
			return words.Text(key, values...), nil
		},
		"field":  inputOf,
		"moment": func(t time.Time) moment { return momentOf(words, t, s.Now()) },
		"device": words.Device,
		"shape":  shapeOf,
		"deed":   func(key string) string { return words.Text("activity." + key) },
	}
}

// tryPages writes every page in every language with everything on it and with
// nothing.
func (s *Server) tryPages() error {
	var wrong []error
	told := map[string]bool{}
	for _, words := range s.Words.Languages() {
		for _, sample := range s.samples(words) {
			err := s.look.write(io.Discard, words.Tag(), sample.name, sample.view)
			if err != nil && !told[err.Error()] {
				wrong, told[err.Error()] = append(wrong, fmt.Errorf("write a page: %w", err)), true
			}
		}
	}
	return errors.Join(wrong...)
}

// getStyle answers with the stylesheet.
func (s *Server) getStyle(x *exchange) error {
	return publish(x, "text/css; charset=utf-8", s.look.style)
}

// getIcon answers with the icon.
func (s *Server) getIcon(x *exchange) error { return publish(x, "image/svg+xml", s.look.icon) }

// getLogo answers with the operator's logo. Whatever is in the file, it is an image
// and nothing else.
func (s *Server) getLogo(x *exchange) error {
	if s.look.logoMedia == "" {
		return errNotFound
	}
	x.Header().Set("Content-Security-Policy", imagePolicy)
	return publish(x, s.look.logoMedia, s.look.logo)
}

// addressOf is where a page finds what it loads: another address for other content, so
// that no browser shows a new page in an old dress.
func addressOf(name string, d document) string {
	return "/static/" + name + "?v=" + strings.Trim(d.tag, `"`)
}
