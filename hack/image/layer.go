package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer holds only the binary and the licence texts: no shell, no package manager, no user database.
func layer(binary []byte, licenses string, created time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	to := tar.NewWriter(&archive)
	if err := add(to, "grayscale", 0o755, binary, created); err != nil {
		return nil, err
	}
	if licenses != "" {
		if err := addTexts(to, licenses, created); err != nil {
			return nil, err
		}
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}

// addTexts adds a folder's files under licenses/, sorted by name. Folders need no entries.
func addTexts(to *tar.Writer, dir string, created time.Time) error {
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		found++
		return add(to, "licenses/"+filepath.ToSlash(inside), 0o644, text, created)
	})
	if err == nil && found == 0 {
		err = errors.New(dir + " holds no licence: run make licenses")
	}
	return err
}

// add writes a file that belongs to root, so that the process cannot change it.
func add(to *tar.Writer, name string, mode int64, content []byte, created time.Time) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: created}
	if err := to.WriteHeader(header); err != nil {
		return err
	}
	_, err := to.Write(content)
	return err
}
