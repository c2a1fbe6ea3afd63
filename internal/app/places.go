package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coatcheck/coatcheck/internal/place"
)

// openPlaces opens geo.database, if there is one. Commands beside a running server do
// without.
func (a *App) openPlaces(context.Context) (err error) {
	if path := a.config.Geo.Database; path != "" {
		a.places, err = place.Open(path, a.logger)
	}
	return err
}

// placeOf names the place of an address, in the language that pages and mails have for
// the reader; "" where nothing is known. It is wired before there is a database, and
// called when there is one.
func (a *App) placeOf(ip, language string) string {
	if a.places == nil {
		return ""
	}
	return a.places.Name(ip, a.words.Language(language).Tag())
}

// followPlaces reads the database again when it changes.
func (a *App) followPlaces(ctx context.Context) {
	if a.places != nil {
		a.places.Run(ctx)
	}
}

// oldPlaces is an age at which addresses have moved: makers of such databases publish
// every few days.
const oldPlaces = 90 * 24 * time.Hour

// geo looks at the database of places, if one is configured.
func (d *doctor) geo() {
	path := d.config.Geo.Database
	if path == "" {
		return
	}
	places, err := place.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		d.find("geo", Serious, "The server does not start: "+err.Error()+".", "Put a City or Country database in the MaxMind format there, or take geo.database out of the configuration.")
		return
	}
	if age := d.now().Sub(places.Built()); age > oldPlaces {
		d.find("geo", Note, fmt.Sprintf("%s is %d days old, and addresses move.", path, age/(24*time.Hour)), "Replace it now and then: the running server reads the new one by itself.")
		return
	}
	d.find("geo", Fine, path+" names the places of addresses.", "")
}
