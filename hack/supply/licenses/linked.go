package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// architectures are those of the image: the linked packages differ a little.
var architectures = []string{"amd64", "arm64"}

// module is one Go module that packages of the binary come from.
type module struct {
	Path, Version, Dir string
	Main               bool
	// texts are the licence files that apply to those packages, relative to Dir, sorted.
	texts []string
	// licenses are their SPDX identifiers, sorted; classify fills them.
	licenses []string
}

// goModule is the name of Go's standard library in the output.
const goModule = "std"

// linked lists the standard library and all modules with packages in the binary, sorted by path.
func linked(root string) ([]module, error) {
	found := map[string]*module{}
	for _, architecture := range architectures {
		if err := list(root, architecture, found); err != nil {
			return nil, err
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	std := &module{Path: goModule, Dir: strings.TrimSpace(string(goroot))}
	if err := std.collect(std.Dir); err != nil {
		return nil, err
	}
	out := []module{*std}
	for _, m := range found {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// list adds the modules that `go list` finds for one architecture.
func list(root, architecture string, found map[string]*module) error {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module,Standard", "./cmd/grayscale")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	packages, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w\n%s", err, failed.Bytes())
	}
	for decoder := json.NewDecoder(bytes.NewReader(packages)); ; {
		var p struct {
			Dir      string
			Module   *module
			Standard bool
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Standard {
			continue
		}
		if found[p.Module.Path] == nil {
			found[p.Module.Path] = p.Module
		}
		if err := found[p.Module.Path].collect(p.Dir); err != nil {
			return err
		}
	}
}

// licenseFile matches the usual names of licence files, with or without a suffix.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-._].*)?$`)

// collect adds the licence files of a package: those in its folder and in all folders above it, up to the module's.
func (m *module) collect(dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(m.Dir, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(inside, e.Name())
			if e.Type().IsRegular() && licenseFile.MatchString(e.Name()) && filepath.Ext(path) != ".go" && !slices.Contains(m.texts, path) {
				m.texts = append(m.texts, path)
			}
		}
		if inside == "." {
			slices.Sort(m.texts)
			return nil
		}
		dir = filepath.Dir(dir)
	}
}
