// Package generated writes files that are made from something else, and checks that they are what would be written.
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
	// Make gives what has to be in it.
	Make func() ([]byte, error)
}

// Main is what a command's main calls: it writes the files, or with the flag -check exits with 1 where one differs.
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

// Write makes the file anew.
func (f File) Write() error {
	want, err := f.Make()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return os.WriteFile(f.Path, want, 0o644)
}

// Check fails where the file is not what Write would write. It names the first line that differs, because the reader
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
