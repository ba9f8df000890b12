// Command image builds grayscale's container image without a container runtime: a static binary for each platform in an
// image of its own, and one OCI index over them, written as an OCI image layout. The same sources, Go and arguments
// give the same digest, on any machine and in any folder.
//
// Run it by `make image`, or from the root of the repository:
//
//	go run -C hack/image . -root ../.. -version v1.2.3
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// request is what to build.
type request struct {
	root     string    // the repository's root
	version  string    // what `grayscale version` says, and the layout's tag
	revision string    // the commit, written into a label
	created  time.Time // of the image and of every file in it
	licenses string    // a folder of licence texts to put into the image; none if empty
}

func main() {
	var r request
	flag.StringVar(&r.root, "root", ".", "the repository's root")
	flag.StringVar(&r.version, "version", "dev", "what `grayscale version` says, and the tag in the layout")
	flag.StringVar(&r.revision, "revision", "", "the commit that it is built from")
	flag.StringVar(&r.licenses, "licenses", "", "a folder of licence texts, put into the image as /licenses")
	out := flag.String("out", filepath.Join("dist", "image"), "the folder to write the OCI layout to, made anew; relative to the root")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	digest, err := run(ctx, r, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Println(digest)
}

// run builds the index, writes it and returns its digest.
func run(ctx context.Context, r request, out string) (string, error) {
	var err error
	if r.created, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return "", err
	}
	if !filepath.IsAbs(out) {
		out = filepath.Join(r.root, out)
	}
	index, err := build(ctx, r)
	if err != nil {
		return "", err
	}
	return write(out, index, r.version)
}

// sourceDate is the time of everything in the image (https://reproducible-builds.org/specs/source-date-epoch/).
// Without one it is the epoch itself, so that no clock is read.
func sourceDate(epoch string) (time.Time, error) {
	if epoch == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
