// Command manifests writes manifests/base/grayscale.yaml, the part of the kustomize base that the Helm chart renders
// from its default values. It needs .tools/bin/helm, which `make manifests` builds.
//
// Run it from the root of the repository:
//
//	go run ./hack/manifests          # write the file
//	go run ./hack/manifests -check   # exit with 1 if the file is out of date
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"

	"grayscale.dev/grayscale/hack/generated"
)

const (
	helm      = ".tools/bin/helm"
	chart     = "manifests/chart"
	out       = "manifests/base/grayscale.yaml"
	namespace = "grayscale-system" // the one in manifests/base/namespace.yaml
	header    = "# Rendered from manifests/chart with its default values by `make manifests`: edit the chart, not this file.\n"
)

func main() {
	generated.Main(generated.File{Path: out, Source: chart + " renders", Again: "make manifests", Make: render})
}

// render returns what Helm would install, without the hook: deleting the base deletes the namespace, which has the
// same effect.
func render() ([]byte, error) {
	cmd := exec.Command(helm, "template", "grayscale", chart, "--namespace", namespace, "--no-hooks")
	var failed bytes.Buffer
	cmd.Stderr = &failed
	rendered, err := cmd.Output()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: run make %s", helm, helm)
	}
	if err != nil {
		return nil, fmt.Errorf("%s template: %w: %s", helm, err, failed.Bytes())
	}
	return append([]byte(header), bytes.ReplaceAll(rendered, []byte("\n\n"), []byte("\n"))...), nil
}
