package guest

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// cpioWriter writes the newc archive that the kernel unpacks as its first root:
// for each file 110 bytes of header in hexadecimal, the name with a NUL and the
// content, both padded to 4 bytes. Written here, it takes neither root to make
// the device node nor a program.
type cpioWriter struct {
	w    *bufio.Writer
	ino  int
	off  int64
	dirs map[string]bool
	err  error
}

func newCpioWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20), dirs: map[string]bool{".": true}}
}

// Types of files, as in st_mode.
const (
	cpioDir     = 0o040000
	cpioRegular = 0o100000
	cpioLink    = 0o120000
	cpioChar    = 0o020000
)

func (c *cpioWriter) file(name string, perm fs.FileMode, data []byte) {
	c.parents(name)
	c.entry(name, cpioRegular|int(perm), 0, 0, data)
}

func (c *cpioWriter) symlink(name, target string) {
	c.parents(name)
	c.entry(name, cpioLink|0o777, 0, 0, []byte(target))
}

func (c *cpioWriter) char(name string, major, minor int) {
	c.parents(name)
	c.entry(name, cpioChar|0o600, major, minor, nil)
}

func (c *cpioWriter) dir(name string) {
	if c.dirs[name] {
		return
	}
	c.parents(name)
	c.dirs[name] = true
	c.entry(name, cpioDir|0o755, 0, 0, nil)
}

// parents writes the folders above name: the kernel makes none by itself.
func (c *cpioWriter) parents(name string) { c.dir(path.Dir(name)) }

func (c *cpioWriter) entry(name string, mode, major, minor int, data []byte) {
	c.ino++
	c.printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	c.pad()
	c.write(data)
	c.pad()
}

// close ends the archive and returns the first error of all.
func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	if err := c.w.Flush(); c.err == nil {
		c.err = err
	}
	return c.err
}

func (c *cpioWriter) printf(format string, args ...any) { c.write(fmt.Appendf(nil, format, args...)) }

func (c *cpioWriter) pad() { c.write(make([]byte, -c.off&3)) }

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	var n int
	n, c.err = c.w.Write(b)
	c.off += int64(n)
}
