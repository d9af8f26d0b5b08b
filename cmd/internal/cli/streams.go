package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
)

// Output is standard output. It keeps the first error, so that no command has to look at
// every line that it prints to know whether it was read.
type Output struct {
	W   io.Writer
	Err error
}

// Write writes b, or nothing after an error.
func (o *Output) Write(b []byte) (int, error) {
	if o.Err != nil {
		return 0, o.Err
	}
	n, err := o.W.Write(b)
	o.Err = err
	return n, err
}

// ProcessOutput is standard output for another process, which is to have the file itself.
func ProcessOutput(cmd *cobra.Command) io.Writer {
	if o, ok := cmd.OutOrStdout().(*Output); ok {
		return o.W
	}
	return cmd.OutOrStdout()
}

// OpenInput opens the file called name, or standard input for "" and "-". Ctrl-C is not kept
// waiting for what is to be read.
func OpenInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "" || name == "-" {
		return &waitingReader{cmd.Context(), io.NopCloser(cmd.InOrStdin())}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return &waitingReader{cmd.Context(), file}, nil
}

// OpenWholeInput is openInput for a command that opens an image afterwards: what comes from standard
// input is read to its end first, into a file, since it may be made out of that very image by a command that
// keeps it open until all is read.
func OpenWholeInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	in, err := OpenInput(cmd, name)
	if err != nil || name != "" && name != "-" {
		return in, err
	}
	file, err := os.CreateTemp("", "zimg-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // it needs no name; where an open file keeps its own, it stays
	_, err = io.Copy(file, in)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &waitingReader{cmd.Context(), file}, nil
}

// Second is the optional second argument.
func Second(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

// waitingReader reads until its context ends. Then its reader may still hold the last buffer: that is
// for nobody to use again.
type waitingReader struct {
	ctx context.Context
	io.ReadCloser
}

// Read reads into b.
func (r *waitingReader) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := r.ReadCloser.Read(b)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		return got.n, got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// CreateOutput makes the file called name, or is standard output for "" and "-". An image is not
// overwritten: somebody has mistaken one file for the other.
func CreateOutput(cmd *cobra.Command, name string) (io.WriteCloser, error) {
	if name == "" || name == "-" {
		return nopCloser{cmd.OutOrStdout()}, nil
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		known := image.Known(disk.OS, name, "")
		if !known {
			f, err := foreign.Detect(all.Formats, disk.OS, name)
			if err != nil {
				return nil, err
			}
			known = f != nil
		}
		if known {
			return nil, &image.HintError{
				Err:  fmt.Errorf("%s is an image: %s does not overwrite it", name, cmd.CommandPath()),
				Hint: "choose another name, or remove it first",
			}
		}
	}
	return os.Create(name)
}

type nopCloser struct{ io.Writer }

// Close does nothing.
func (nopCloser) Close() error { return nil }
