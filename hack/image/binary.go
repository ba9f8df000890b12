package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// architectures are those that the image is built for. GOAMD64 and GOARM64 are set to the oldest levels, which run
// everywhere.
var architectures = []string{"amd64", "arm64"}

// compile returns the static binary for an architecture. The machine does not influence it: it contains no path
// (-trimpath), no version control state, no build ID, and ignores build flags and levels of the caller's environment.
func compile(ctx context.Context, r request, architecture string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "grayscale-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the temporary directory
	out := filepath.Join(dir, "grayscale")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", out, "./cmd/grayscale")
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build for %s: %w\n%s", architecture, err, said)
	}
	return os.ReadFile(out)
}
