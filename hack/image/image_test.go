package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	version = "v1.2.3-test"
	epoch   = "1700000000"
)

var created = time.Unix(1700000000, 0) // the epoch

// built is an image in a layout on disk, and the program's output.
type built struct {
	layout, digest string
	err            error
}

// first is the folder of the build that all tests read.
var first string

var once = sync.OnceValue(func() built { return buildIn(first) })

func TestMain(m *testing.M) {
	var err error
	if first, err = os.MkdirTemp("", "grayscale-image-test-"); err == nil {
		err = os.Setenv("SOURCE_DATE_EPOCH", epoch)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(first) // it is in the temporary directory
	os.Exit(code)
}

// buildIn copies the sources to dir and builds the image as `make image` does.
func buildIn(dir string) built {
	sources := filepath.Join(dir, "sources")
	for _, part := range []string{"cmd", "webhook", "annotator", "observe", "routing"} {
		if err := os.CopyFS(filepath.Join(sources, part), os.DirFS(filepath.Join("..", "..", part))); err != nil {
			return built{err: err}
		}
	}
	for _, part := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("..", "..", part))
		if err == nil {
			err = os.WriteFile(filepath.Join(sources, part), text, 0o600)
		}
		if err != nil {
			return built{err: err}
		}
	}
	licenses := filepath.Join(dir, "licenses")
	err := errors.Join(os.MkdirAll(filepath.Join(licenses, "example.com"), 0o700),
		os.WriteFile(filepath.Join(licenses, "example.com", "LICENSE"), []byte("MIT"), 0o600))
	if err != nil {
		return built{err: err}
	}
	out := filepath.Join(dir, "image")
	digest, err := run(context.Background(), request{root: sources, version: version, revision: "0123456789abcdef", licenses: licenses}, out)
	return built{layout: out, digest: digest, err: err}
}

func image(t *testing.T) built {
	t.Helper()
	made := once()
	if made.err != nil {
		t.Fatal(made.err)
	}
	return made
}

// The same sources in another folder, at another time, in another environment: the same digest.
func TestTwoBuildsHaveOneDigest(t *testing.T) {
	made := image(t)
	for key, value := range map[string]string{"GOAMD64": "v3", "GOFLAGS": "-tags=other", "CGO_ENABLED": "1", "GOOS": "windows", "TZ": "Asia/Tokyo"} {
		t.Setenv(key, value)
	}
	second := buildIn(filepath.Join(t.TempDir(), "some", "longer", "path", "elsewhere"))
	if second.err != nil {
		t.Fatal(second.err)
	}
	if made.digest != second.digest || !strings.HasPrefix(made.digest, "sha256:") {
		t.Errorf("the first build has digest %s, the second %s", made.digest, second.digest)
	}
}

// index reads the layout from disk, as a registry's client would, and checks every digest in it on the way.
func index(t *testing.T) v1.ImageIndex {
	t.Helper()
	made := image(t)
	outer, err := layout.ImageIndexFromPath(made.layout)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != made.digest || manifest.Manifests[0].Annotations[refName] != version {
		t.Fatalf("the layout holds %v, want %s as %s", manifest.Manifests, made.digest, version)
	}
	inner, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

// platforms are the images of the index, by architecture.
func platforms(t *testing.T) map[string]v1.Image {
	t.Helper()
	from := index(t)
	manifest, err := from.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		if d.Platform.OS != "linux" {
			t.Errorf("an image for %v", d.Platform)
		}
		if out[d.Platform.Architecture], err = from.Image(d.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Every image says what it is, runs as nobody, and holds a static binary for its machine, the licences, and nothing
// else.
func TestImagesAreBare(t *testing.T) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	images := platforms(t)
	if len(images) != len(machines) {
		t.Fatalf("there are %d images, want %d", len(images), len(machines))
	}
	for architecture, one := range images {
		config, err := one.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config
		if config.Architecture != architecture || c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/grayscale"}) || len(c.Env) > 0 || len(c.Cmd) > 0 ||
			!config.Created.Equal(created) || c.Labels["org.opencontainers.image.version"] != version || c.Labels["org.opencontainers.image.revision"] == "" {
			t.Errorf("%s: the configuration is %+v", architecture, config)
		}
		files := unpack(t, one)
		if len(files) != 2 || string(files["licenses/example.com/LICENSE"]) != "MIT" {
			t.Errorf("%s: it holds %d files", architecture, len(files))
		}
		binary, err := elf.NewFile(bytes.NewReader(files["grayscale"]))
		if err != nil {
			t.Fatal(err)
		}
		static := !slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC })
		if binary.Machine != machines[architecture] || !static {
			t.Errorf("%s: the binary is for %s, static: %t", architecture, binary.Machine, static)
		}
		for _, trace := range []string{first, os.Getenv("HOME") + "/"} {
			if bytes.Contains(files["grayscale"], []byte(trace)) {
				t.Errorf("%s: the binary names the folder %s", architecture, trace)
			}
		}
	}
}

// unpack returns the files that a container would see. All belong to root and have the sources' time.
func unpack(t *testing.T, one v1.Image) map[string][]byte {
	t.Helper()
	flat := mutate.Extract(one)
	defer func() { _ = flat.Close() }() // only reads
	files := map[string][]byte{}
	for from := tar.NewReader(flat); ; {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Mode&0o022 != 0 || !header.ModTime.Equal(created) {
			t.Errorf("%s: %+v", header.Name, header)
		}
		if files[header.Name], err = io.ReadAll(from); err != nil {
			t.Fatal(err)
		}
	}
}

// The binary for this machine's architecture, out of its layer, runs.
func TestUnpackedImageRuns(t *testing.T) {
	one := platforms(t)[runtime.GOARCH]
	if one == nil {
		t.Fatalf("no image for %s, which this machine is", runtime.GOARCH)
	}
	path := filepath.Join(t.TempDir(), "grayscale")
	if err := os.WriteFile(path, unpack(t, one)["grayscale"], fs.FileMode(0o700)); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(path, "version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(said)) != version {
		t.Errorf("grayscale version: %v: %s", err, said)
	}
}

// crane pushes the layout, as the release does, and the registry has it under the digest that was printed.
func TestCranePushesTheLayout(t *testing.T) {
	made := image(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/grayscale:" + version
	if said, err := exec.Command("go", "tool", "crane", "push", made.layout, to).CombinedOutput(); err != nil {
		t.Fatalf("crane push: %v\n%s", err, said)
	}
	reference, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Get(reference)
	if err != nil {
		t.Fatal(err)
	}
	if pushed.Digest.String() != made.digest {
		t.Errorf("the registry has %s, printed was %s", pushed.Digest, made.digest)
	}
}
