package imagetest

import (
	"path/filepath"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// Rested is the Standard image with its open zones closed, as after a power cycle.
func Rested(kind layout.Kind) Spec {
	s := Standard(kind)
	for i, z := range s.Namespaces[0].Zones {
		if z.State.Open() {
			z.State = layout.Closed
			s.Namespaces[0].Zones[i] = z
		}
	}
	return s
}

// Damaged makes the image of a case of testdata/damage at path: the first line of text is its layout, trailing or
// sidecar (or renamed: a sidecar under another name), and every other one a Damage.
func Damaged(path, text string) (*MemFS, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	kind, made := layout.Trailing, path
	switch lines[0] {
	case "sidecar":
		kind = layout.Sidecar
	case "renamed":
		kind, made = layout.Sidecar, filepath.Join(filepath.Dir(path), "other.zimg")
	}
	fs := NewMemFS()
	s := Rested(kind)
	if err := s.Create(fs, made); err != nil {
		return nil, err
	}
	if made != path {
		for _, suffix := range []string{"", image.SidecarSuffix} {
			if err := fs.Rename(made+suffix, path+suffix); err != nil {
				return nil, err
			}
		}
	}
	for _, line := range lines[1:] {
		if line == "" || line[0] == '#' {
			continue
		}
		if err := Damage(fs, path, line); err != nil {
			return nil, err
		}
	}
	return fs, nil
}
