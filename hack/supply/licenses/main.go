// Command licenses finds the licences of all code in the binary, and fails if one is not allowed. It can write their
// texts into a folder, for the image, and their names into an SBOM.
//
// Run it by `make licenses` or `make sbom`, or from the root of the repository:
//
//	go run -C hack/supply ./licenses -root ../..                 # check
//	go run -C hack/supply ./licenses -root ../.. -texts DIR      # and write every text to DIR
//	go run -C hack/supply ./licenses -root ../.. -sbom FILE      # and complete a CycloneDX SBOM in place
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the repository's root")
	texts := flag.String("texts", "", "a folder to write the texts to, made anew; relative to the root")
	sbom := flag.String("sbom", "", "a CycloneDX SBOM in JSON to write the licences into; relative to the root")
	flag.Parse()
	if err := run(*root, *texts, *sbom); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root, texts, sbom string) error {
	modules, err := linked(root)
	if err != nil {
		return err
	}
	var refused []error
	for i := range modules {
		if err := modules[i].classify(); err != nil {
			refused = append(refused, fmt.Errorf("licences: %s %s: %w", modules[i].Path, modules[i].Version, err))
		}
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	if texts != "" {
		if err := write(modules, inside(root, texts)); err != nil {
			return err
		}
	}
	if sbom != "" {
		return complete(modules, inside(root, sbom))
	}
	return nil
}

func inside(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}
