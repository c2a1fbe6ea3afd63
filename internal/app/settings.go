package app

import (
	"errors"
	"os"
	"strings"

	"github.com/coatcheck/coatcheck/internal/config"
)

// Configure returns the configuration of a Go program that embeds the server:
// settings by the names that they have in coatcheck.toml, such as "session.idle".
// No file and no environment is read. All mistakes are told at once.
func Configure(settings map[string]string) (config.Config, error) {
	variables := map[string]string{}
	for _, k := range config.Keys() {
		variables[k.Name] = k.Env()
	}
	var environ []string
	var unknown []error
	for name, text := range settings {
		if variables[name] == "" {
			unknown = append(unknown, errors.New(name+": there is no such setting"))
			continue
		}
		environ = append(environ, variables[name]+"="+text)
	}
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: environ})
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		for i := range mistakes {
			mistakes[i].Where = "" // it names a variable that nobody has set
		}
	}
	if err = errors.Join(append(unknown, err)...); err != nil {
		return config.Config{}, errors.New("the configuration has mistakes: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return loaded.Config, nil
}
