package foreign

import (
	"fmt"
	"strconv"

	"zimg/image/disk"
)

// Output is what an encoder is handed: a Content that fits the format, and the
// means to create files. What is created gets its name when all is complete.
type Output struct {
	*Content
	Path   string // as the user named it
	Second string // path of the second file
	Force  bool
	// InPlace: the data file is there already, and is left alone.
	InPlace bool
	// Create makes a file that will be called path.
	Create func(path string) (disk.File, error)
	// Finish makes a file durable and closes it, for formats of many files; others leave that
	// to the caller.
	Finish func(disk.File) error
	// Mkdir makes the directory path, which must not exist or be empty.
	Mkdir func(path string) error
	Tick  Tick
	// Say prints a line for the user: how to run the original program.
	Say func(format string, args ...any)
}

// CopyLinear copies all that was written to file, byte 0 of the namespace at base.
func (o *Output) CopyLinear(file disk.File, base int64) error {
	for r, err := range o.Runs() {
		if err != nil {
			return err
		}
		if err := o.Copy(file, base+r.From, r.From, r.To, o.Tick); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	return nil
}

// DataFile makes the file that holds the data and nothing else.
func (o *Output) DataFile(path string) error {
	if o.InPlace {
		return nil
	}
	file, err := o.Create(path)
	if err != nil {
		return err
	}
	if err := file.Truncate(int64(o.NS.Size())); err != nil {
		return err
	}
	return o.CopyLinear(file, 0)
}

// Units is n in the given unit, exactly: with a fraction where it is not a multiple, which shows that the
// program that gets it cannot use it.
func Units(n, unit int64) string {
	return strconv.FormatFloat(float64(n)/float64(unit), 'f', -1, 64)
}
