package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A place is where a file is to be written, whole or not at all.
type place struct {
	path string      // with symbolic links followed, where a file is replaced
	mode fs.FileMode // the file's own, where it is replaced
	over bool        // a file that is there may be replaced
}

// private is the mode of a configuration: it may hold a password one day.
const private fs.FileMode = 0o600

// findPlace looks whether a file may be written at path, before anybody is asked
// anything.
func findPlace(path string, force bool) (place, error) {
	p := place{path: path, mode: private, over: force}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if folder, err := os.Stat(filepath.Dir(path)); err != nil || !folder.IsDir() {
			return p, fmt.Errorf("there is no folder %s: make it first (%s)", filepath.Dir(path), unwritten)
		}
		return p, nil
	case err != nil:
		return p, fmt.Errorf("%w: %s", err, unwritten)
	case !force:
		return p, fmt.Errorf("%s is there already: %s. Replace it with --force, or write elsewhere with --output FILE", path, unwritten)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if p.path, err = filepath.EvalSymlinks(path); err != nil {
			return p, fmt.Errorf("%s leads nowhere: %s", path, unwritten)
		}
		if info, err = os.Stat(p.path); err != nil {
			return p, fmt.Errorf("%w: %s", err, unwritten)
		}
	}
	if !info.Mode().IsRegular() {
		return p, fmt.Errorf("%s is no file: %s", path, unwritten)
	}
	p.mode = info.Mode().Perm()
	return p, nil
}

// write puts text into a file beside the place, lets accept look at that one, and
// moves it to its place: whoever looks there sees all of it or nothing.
func (p place) write(ctx context.Context, text []byte, accept func(path string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(p.path), ".coatcheck-*.toml")
	if err != nil {
		return fmt.Errorf("%w: %s", err, unwritten)
	}
	defer func() {
		if gone := os.Remove(f.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(p.mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("%w: %s", err, unwritten)
	}
	if err := accept(f.Name()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("stopped: " + unwritten)
	}
	return p.settle(f.Name())
}

// settle moves the file to its place. A link, unlike a rename, never replaces what
// has come there meanwhile; on a file system without links it is looked once more.
func (p place) settle(from string) error {
	if p.over {
		return os.Rename(from, p.path)
	}
	err := os.Link(from, p.path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Lstat(p.path); errors.Is(there, fs.ErrNotExist) {
			return os.Rename(from, p.path)
		}
		err = fs.ErrExist
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: %s. Replace it with --force, or write elsewhere with --output FILE", p.path, unwritten)
	}
	return err
}
