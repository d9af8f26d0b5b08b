package guest

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// writeInitrd writes the guest's whole file system to path: busybox, the
// programs of the recipe with their libraries, and the modules below stage. It
// is not compressed, because the guest would take longer to unpack it than QEMU
// to load it.
func writeInitrd(ctx context.Context, path, stage string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	c := newCpioWriter(f)
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "mnt", "run"} {
		c.dir(dir)
	}
	c.char("dev/console", 5, 1) // the kernel opens it before init can mount anything
	c.file("init", 0o755, initScript)
	c.file("usr/sbin/mkzonefs", 0o755, mkzonefsScript)
	c.file("usr/sbin/namespaces", 0o755, namespacesScript)
	c.file("usr/lib/zonefs.super", 0o644, zonefsSuper())
	if err := addBusybox(ctx, c); err != nil {
		return err
	}
	if err := addPrograms(ctx, c); err != nil {
		return err
	}
	if err := addTree(c, stage); err != nil {
		return err
	}
	return c.close()
}

// addBusybox adds busybox with a link for each of its commands. The kernel runs
// /sbin/modprobe when something asks for a module.
func addBusybox(ctx context.Context, c *cpioWriter) error {
	// Not the one on PATH, which another package may have linked to libraries.
	busybox := "/bin/busybox"
	b, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	list, err := output(ctx, "", busybox, "--list")
	if err != nil {
		return err
	}
	c.file("bin/busybox", 0o755, b)
	for _, name := range strings.Fields(list) {
		if name != "busybox" {
			c.symlink("bin/"+name, "busybox")
		}
	}
	c.symlink("sbin/modprobe", "../bin/busybox")
	return nil
}

// addPrograms adds the recipe's programs to /usr/sbin, and their libraries
// where the programs look for them.
func addPrograms(ctx context.Context, c *cpioWriter) error {
	libs := map[string]bool{}
	for _, name := range programs {
		path := tool(name)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c.file("usr/sbin/"+name, 0o755, b)
		out, err := output(ctx, "", "ldd", path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			lib := library(line)
			if lib == "" || libs[lib] {
				continue
			}
			libs[lib] = true
			b, err := os.ReadFile(lib)
			if err != nil {
				return err
			}
			c.file(lib[1:], 0o755, b)
		}
	}
	return nil
}

// library is the path in one line of ldd, which looks like one of
//
//	linux-vdso.so.1 (0x00007ffc)
//	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f05)
//	/lib64/ld-linux-x86-64.so.2 (0x00007f05)
func library(line string) string {
	for _, word := range strings.Fields(line) {
		if strings.HasPrefix(word, "/") {
			return word
		}
	}
	return ""
}

// addTree adds the files below dir under their paths in it.
func addTree(c *cpioWriter, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		c.file(name, 0o644, b)
		return nil
	})
}
