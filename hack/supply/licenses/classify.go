package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/licensecheck"
)

// allowed are the licences that a binary under Apache-2.0 may include, if it is distributed with their texts.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// coverage is the percentage of a text that has to match known licences: the rest is names, years and origins.
const coverage = 70

// classify finds the module's licences. It fails if there is none, or one that is unknown or not allowed.
func (m *module) classify() error {
	if len(m.texts) == 0 {
		return errors.New("no licence file: use something else, or ask its authors")
	}
	for _, name := range m.texts {
		text, err := os.ReadFile(filepath.Join(m.Dir, name))
		if err != nil {
			return err
		}
		licenses, err := identify(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.licenses = append(m.licenses, licenses...)
	}
	slices.Sort(m.licenses)
	m.licenses = slices.Compact(m.licenses)
	return nil
}

// identify returns the SPDX identifiers of the licences in a text. All of them are allowed.
func identify(text []byte) ([]string, error) {
	seen := licensecheck.Scan(text)
	if seen.Percent < coverage {
		return nil, fmt.Errorf("only %.0f%% of its text is a known licence: read it, and add it to what is allowed or use something else", seen.Percent)
	}
	var out []string
	for _, match := range seen.Match {
		if !slices.Contains(allowed, match.ID) {
			return nil, fmt.Errorf("%s is not allowed here (%v are): use something else", match.ID, allowed)
		}
		out = append(out, match.ID)
	}
	return out, nil
}
