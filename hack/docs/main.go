// Command docs writes docs/annotations.md, the reference page of the annotations, from the table of keys.
//
// Run it from the root of the repository:
//
//	go run ./hack/docs          # write the page
//	go run ./hack/docs -check   # exit with 1 where the page is not what would be written
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
)

func main() {
	out := flag.String("out", "docs/annotations.md", "the file to write or check")
	check := flag.Bool("check", false, "write nothing; exit with 1 where the file differs")
	flag.Parse()
	if err := run(*out, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out string, check bool) error {
	want, err := page()
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(out, want, 0o644)
	}
	got, err := os.ReadFile(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return compare(out, got, want)
}

// compare names the first line that differs, because the reader wants to know which key is out of date.
func compare(out string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	line := 0
	for line < min(len(gotLines), len(wantLines)) && bytes.Equal(gotLines[line], wantLines[line]) {
		line++
	}
	return fmt.Errorf("%s is not what the table of keys in routing/intent/keys.go says, from line %d on; run: go run ./hack/docs", out, line+1)
}
