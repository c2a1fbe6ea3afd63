package app

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/web"
)

// readPages returns what stands in for our templates, mails, styles and words, nil if
// there is none, and all words together.
func (o Options) readPages() (fs.FS, *catalogue.Catalogue, error) {
	pages := o.Pages
	if folder := o.Config.Pages.Folder; pages == nil && folder != "" {
		if _, err := os.ReadDir(folder); err != nil {
			return nil, nil, fmt.Errorf("pages.folder: %w", err)
		}
		pages = os.DirFS(folder)
	}
	words, err := catalogue.Load(pages)
	if err != nil {
		return nil, nil, fmt.Errorf("the words of the pages: %w", err)
	}
	return pages, words, nil
}

// brandOf is what people see of the operator, with the logo as it is in its file now.
func brandOf(c *config.Config) (web.Brand, error) {
	b := web.Brand{Name: c.Brand.Name, Color: c.Brand.Color, Privacy: c.Brand.Privacy, Terms: c.Brand.Terms, Help: c.Brand.Help}
	if c.Brand.Logo == "" {
		return b, nil
	}
	logo, err := os.ReadFile(c.Brand.Logo)
	if err != nil {
		return b, fmt.Errorf("brand.logo: %w", err)
	}
	b.Logo = logo
	if err := b.Check(); err != nil {
		return b, fmt.Errorf("brand.logo: %w", err)
	}
	return b, nil
}
