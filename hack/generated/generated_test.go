package generated

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTellsWhereAFileDiffers(t *testing.T) {
	content := "one\ntwo\nthree\n"
	f := File{Path: filepath.Join(t.TempDir(), "file"), Source: "the test says", Again: "the test", Make: func() ([]byte, error) { return []byte(content), nil }}
	if err := f.Check(); err == nil || !strings.Contains(err.Error(), "is not what the test says, from line 1 on; run: the test") {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := f.Write(); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(); err != nil {
		t.Errorf("a file just written: %v", err)
	}
	content = "one\n2\nthree\n"
	if err := f.Check(); err == nil || !strings.Contains(err.Error(), "from line 2 on") {
		t.Errorf("a file that differs in line 2: %v", err)
	}
	if kept, err := os.ReadFile(f.Path); err != nil || string(kept) != "one\ntwo\nthree\n" {
		t.Errorf("the check wrote %q: %v", kept, err)
	}
	f.Make = func() ([]byte, error) { return nil, errors.New("no source") }
	if err := errors.Join(f.Write(), f.Check()); err == nil || strings.Count(err.Error(), "no source") != 2 {
		t.Errorf("a file that cannot be made: %v", err)
	}
}
