package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// noticeFile matches files that a licence such as Apache-2.0 requires besides its text.
var noticeFile = regexp.MustCompile(`(?i)^(notice|patents)([-._].*)?$`)

// write replaces the folder's content by every module's texts, each under the module's path.
func write(modules []module, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, m := range modules {
		names := slices.Clone(m.texts)
		entries, err := os.ReadDir(m.Dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && noticeFile.MatchString(e.Name()) {
				names = append(names, e.Name())
			}
		}
		for _, name := range names {
			if err := copyFile(filepath.Join(m.Dir, name), filepath.Join(dir, filepath.FromSlash(m.Path), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
