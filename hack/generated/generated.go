// Package generated writes generated files, and checks that they are up to date.
package generated

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
)

// File is one such file.
type File struct {
	// Path is where it is.
	Path string
	// Source says what it is made from, in words that follow "not what"; Again is the command that makes it.
	Source, Again string
	// Make returns its content.
	Make func() ([]byte, error)
}

// Main is the main function of a command: it writes the files. With the flag -check it exits with 1 if one differs.
func Main(files ...File) {
	check := flag.Bool("check", false, "write nothing; exit with 1 where a file differs")
	flag.Parse()
	act := File.Write
	if *check {
		act = File.Check
	}
	var failed []error
	for _, f := range files {
		failed = append(failed, act(f))
	}
	if err := errors.Join(failed...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Write replaces the file.
func (f File) Write() error {
	want, err := f.Make()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return os.WriteFile(f.Path, want, 0o644)
}

// Check fails if the file is not what Write would write. It names the first line that differs, because the reader
// wants to know what is out of date.
func (f File) Check() error {
	want, err := f.Make()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	got, err := os.ReadFile(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	line := 0
	for line < min(len(gotLines), len(wantLines)) && bytes.Equal(gotLines[line], wantLines[line]) {
		line++
	}
	return fmt.Errorf("%s is not what %s, from line %d on; run: %s", f.Path, f.Source, line+1, f.Again)
}
