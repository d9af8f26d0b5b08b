package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Build returns the guest, putting it together first if that has not been done
// since the recipe changed: some seconds and a download of 70 MB. Several
// processes may call it at once; one builds and the others wait.
//
// The guest is in the module's .cache/guest, found from the working folder.
// Programs that are missing on the machine are installed by scripts/deps.sh,
// or named in the error where it cannot.
func Build(ctx context.Context) (Guest, error) {
	root, err := moduleRoot()
	if err != nil {
		return Guest{}, err
	}
	cache := filepath.Join(root, ".cache", "guest")
	dir := filepath.Join(cache, recipeID())
	g := Guest{Kernel: filepath.Join(dir, "vmlinux"), Initrd: filepath.Join(dir, "initrd")}
	if built(dir) {
		return g, nil
	}

	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Guest{}, err
	}
	unlock, err := lockFile(filepath.Join(cache, "lock"))
	if err != nil {
		return Guest{}, err
	}
	defer unlock()
	if built(dir) { // by whoever had the lock
		return g, nil
	}
	tmp, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return Guest{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := build(ctx, root, tmp); err != nil {
		return Guest{}, fmt.Errorf("build guest: %w", err)
	}
	// The rename makes the guest exist: dir is complete or not there.
	return g, os.Rename(filepath.Join(tmp, "guest"), dir)
}

// built reports whether dir, which only a finished build makes, is there.
func built(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// build makes tmp/guest, using tmp for what it needs on the way.
func build(ctx context.Context, root, tmp string) error {
	deps := exec.CommandContext(ctx, filepath.Join(root, "scripts", "deps.sh"))
	deps.Stdout, deps.Stderr = os.Stderr, os.Stderr
	dieWithParent(deps)
	if err := deps.Run(); err != nil {
		return fmt.Errorf("scripts/deps.sh: %w", err)
	}
	work := filepath.Join(tmp, "kernel")
	stage := filepath.Join(tmp, "modules")
	out := filepath.Join(tmp, "guest")
	for _, dir := range []string{work, stage, out} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	k, err := fetchKernel(ctx, work)
	if err != nil {
		return err
	}
	if err := k.stageModules(ctx, stage); err != nil {
		return err
	}
	if err := writeInitrd(ctx, filepath.Join(out, "initrd"), stage); err != nil {
		return err
	}
	return unpackKernel(ctx, k.image, filepath.Join(out, "vmlinux"))
}

// moduleRoot is the nearest folder above the working folder with a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in the working folder or above it")
		}
		dir = parent
	}
}
