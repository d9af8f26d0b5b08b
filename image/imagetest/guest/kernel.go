package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernel is an unpacked kernel package.
type kernel struct {
	image   string // the file that QEMU boots
	release string // as uname -r
	base    string // the folder that lib/modules/RELEASE is in
}

var kernelPackage = regexp.MustCompile(`^linux-(image|modules|modules-extra)-[0-9]`)

// fetchKernel downloads the distribution's kernel packages to dir and unpacks
// them there; nothing is installed.
func fetchKernel(ctx context.Context, dir string) (kernel, error) {
	download := func() error {
		names, err := kernelPackageNames(ctx)
		if err != nil {
			return err
		}
		_, err = output(ctx, dir, "apt-get", append([]string{"download", "-q"}, names...)...)
		return err
	}
	err := download()
	if err != nil && os.Geteuid() == 0 {
		// No package lists, or lists so old that the server has a newer kernel.
		if _, err := output(ctx, dir, "apt-get", "update", "-q"); err != nil {
			return kernel{}, err
		}
		err = download()
	}
	if err != nil {
		return kernel{}, fmt.Errorf("no kernel package (try apt-get update): %w", err)
	}

	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return kernel{}, err
	}
	base := filepath.Join(dir, "unpacked")
	for _, deb := range debs {
		if _, err := output(ctx, dir, "dpkg-deb", "-x", deb, base); err != nil {
			return kernel{}, err
		}
	}
	// depmod looks below lib; newer releases ship usr/lib alone.
	if _, err := os.Lstat(filepath.Join(base, "lib")); errors.Is(err, fs.ErrNotExist) {
		if err := os.Symlink("usr/lib", filepath.Join(base, "lib")); err != nil {
			return kernel{}, err
		}
	}
	images, err := filepath.Glob(filepath.Join(base, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, fmt.Errorf("%d kernels in %s, want 1", len(images), debs)
	}
	k := kernel{image: images[0], base: base}
	_, k.release, _ = strings.Cut(filepath.Base(k.image), "vmlinuz-")
	_, err = output(ctx, dir, tool("depmod"), "-b", base, k.release)
	return k, err
}

// kernelPackageNames follows the dependencies of the distribution's newest
// kernel to the packages that hold its files.
func kernelPackageNames(ctx context.Context) ([]string, error) {
	var names []string
	var follow func(name string) error
	follow = func(name string) error {
		out, err := output(ctx, "", "apt-cache", "depends", "--no-recommends", "--no-suggests", name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			dep, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
			if !ok || !kernelPackage.MatchString(dep) || slices.Contains(names, dep) {
				continue
			}
			names = append(names, dep)
			if err := follow(dep); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	for _, name := range kernelPackages {
		if err = follow(name); err == nil && len(names) > 0 {
			return names, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("none of %v depends on a kernel", kernelPackages)
	}
	return nil, err
}

// stageModules copies the modules of the recipe and all that they depend on to
// dir, decompressed, and makes there what modprobe reads.
func (k kernel) stageModules(ctx context.Context, dir string) error {
	needs, err := k.dependencies()
	if err != nil {
		return err
	}
	src := filepath.Join(k.base, "lib", "modules", k.release)
	dst := filepath.Join(dir, "lib", "modules", k.release)
	builtin, err := os.ReadFile(filepath.Join(src, "modules.builtin"))
	if err != nil {
		return err
	}
	for _, name := range modules {
		files, ok := needs[moduleName(name)]
		if !ok && !strings.Contains(moduleName(string(builtin)), "/"+moduleName(name)+".ko") {
			return fmt.Errorf("kernel %s has no module %s", k.release, name)
		}
		for _, file := range files {
			if err := copyModule(ctx, filepath.Join(src, file), filepath.Join(dst, file)); err != nil {
				return err
			}
		}
	}
	for _, file := range []string{"modules.builtin", "modules.order"} {
		if err := copyFile(filepath.Join(src, file), filepath.Join(dst, file)); err != nil {
			return err
		}
	}
	_, err = output(ctx, "", tool("depmod"), "-b", dir, k.release)
	return err
}

// dependencies reads modules.dep: for each module its own file and those of all
// modules it needs.
func (k kernel) dependencies() (map[string][]string, error) {
	b, err := os.ReadFile(filepath.Join(k.base, "lib", "modules", k.release, "modules.dep"))
	if err != nil {
		return nil, err
	}
	needs := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		file, deps, _ := strings.Cut(line, ":")
		name, _, _ := strings.Cut(filepath.Base(file), ".ko")
		needs[moduleName(name)] = append([]string{file}, strings.Fields(deps)...)
	}
	return needs, nil
}

// moduleName evens out the two ways in which module names are spelt.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// copyModule copies one module; some distributions compress theirs in ways
// that the guest's modprobe cannot read.
func copyModule(ctx context.Context, src, dst string) error {
	var unpack string
	switch filepath.Ext(src) {
	case ".zst":
		unpack = "zstd"
	case ".xz":
		unpack = "xz"
	default:
		return copyFile(src, dst)
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	out, err := output(ctx, "", unpack, "-dc", src)
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(dst, filepath.Ext(dst)), []byte(out), 0o644)
}

func copyFile(src, dst string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o644)
}

// tool finds a program of /usr/sbin also for a user whose PATH has no sbin.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// output runs a program in dir and returns what it prints; its error has what
// it complains about.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	dieWithParent(cmd)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
