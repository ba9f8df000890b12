package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mit = `MIT License

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

// gpl is the notice that sources under the GPL carry.
const gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as
published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.
This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.
You should have received a copy of the GNU General Public License along with this program. If not, see <https://www.gnu.org/licenses/>.
`

func TestClassify(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
		fails string
	}{
		"allowed":              {map[string]string{"LICENSE": mit}, []string{"MIT"}, ""},
		"with a format":        {map[string]string{"LICENSE.md": mit}, []string{"MIT"}, ""},
		"not allowed":          {map[string]string{"COPYING": gpl}, nil, "is not allowed here"},
		"one of two":           {map[string]string{"LICENSE": mit, "LICENSE-extra": gpl}, nil, "LICENSE-extra: "},
		"unknown":              {map[string]string{"LICENSE": "You may use this on Tuesdays."}, nil, "is a known licence"},
		"none":                 {map[string]string{"README": mit}, nil, "no licence file"},
		"sources do not count": {map[string]string{"license.go": mit}, nil, "no licence file"},
	} {
		t.Run(name, func(t *testing.T) {
			m := module{Path: "example.com/x", Dir: t.TempDir()}
			for file, text := range tt.files {
				if err := os.WriteFile(filepath.Join(m.Dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.collect(m.Dir); err != nil {
				t.Fatal(err)
			}
			err := m.classify()
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %v, want %q", err, tt.fails)
			}
			if tt.fails == "" && !slices.Equal(m.licenses, tt.want) {
				t.Errorf("it is under %v, want %v", m.licenses, tt.want)
			}
		})
	}
}

// A package below the module's root has the licences in its folder and in those above it, and no others.
func TestCollectGoesUp(t *testing.T) {
	m := module{Path: "example.com/x", Dir: t.TempDir()}
	for _, dir := range []string{"third/forked/deep", "other"} {
		if err := os.MkdirAll(filepath.Join(m.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"LICENSE", "third/forked/LICENSE", "other/LICENSE"} {
		if err := os.WriteFile(filepath.Join(m.Dir, file), []byte(mit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.collect(filepath.Join(m.Dir, "third", "forked", "deep")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"LICENSE", "third/forked/LICENSE"}; !slices.Equal(m.texts, want) {
		t.Errorf("got %v, want %v", m.texts, want)
	}
}

// All licences of today's binary are allowed, their texts are written, and an SBOM gets their names.
func TestOfThisRepository(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	texts, sbom := filepath.Join(dir, "texts"), filepath.Join(dir, "sbom.json")
	components := `{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"application","name":"grayscale.dev/grayscale"}},
		"components":[{"type":"library","name":"k8s.io/client-go"},{"type":"library","name":"golang.org/x/net"},{"type":"library","name":"std"}]}`
	if err := os.WriteFile(sbom, []byte(components), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, texts, sbom); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"k8s.io/client-go/LICENSE", "std/LICENSE", "grayscale.dev/grayscale/LICENSE"} {
		if text, err := os.ReadFile(filepath.Join(texts, path)); err != nil || len(text) < 1000 {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	raw, err := os.ReadFile(sbom)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Components []struct {
			Name     string
			Licenses []struct{ License struct{ ID string } }
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"Apache-2.0", "BSD-3-Clause", "BSD-3-Clause"} {
		if c := got.Components[i]; len(c.Licenses) == 0 || c.Licenses[len(c.Licenses)-1].License.ID != want {
			t.Errorf("%s is under %v, want %s", c.Name, c.Licenses, want)
		}
	}
	unknown := strings.Replace(components, "k8s.io/client-go", "example.com/none", 1)
	if err := os.WriteFile(sbom, []byte(unknown), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, "", sbom); err == nil || !strings.Contains(err.Error(), "example.com/none") {
		t.Errorf("an SBOM with a component that is not linked: %v", err)
	}
}
