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
	"zimg/image/goroutine"
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
	goroutine.Go(Panicked(os.Stderr), func() {
		n, err := r.ReadCloser.Read(b)
		done <- result{n, err}
	})
	select {
	case got := <-done:
		return got.n, got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// An OutFile is a file that a command makes. Finish must be called in the end.
type OutFile struct {
	io.Writer
	finish func(err error) error
}

// Finish gives the file its name, and durably, if err is nil; else nothing is left of it. It returns err, or what went
// wrong.
func (o *OutFile) Finish(err error) error { return o.finish(err) }

// CreateOutput makes the file called name, or is standard output for "" and "-". What has the name stays until the new
// file is complete. An image is not overwritten: somebody has mistaken one file for the other. A file that is not regular is written to.
func CreateOutput(cmd *cobra.Command, name string) (*OutFile, error) {
	if name == "" || name == "-" {
		return &OutFile{cmd.OutOrStdout(), func(err error) error { return err }}, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &OutFile{file, func(err error) error { return errors.Join(err, file.Close()) }}, nil
	}
	resolved, err := disk.Resolve(disk.OS, name)
	if err != nil {
		return nil, err
	}
	if err := refuseImage(cmd, name); err != nil {
		return nil, err
	}
	r := &disk.Replacement{FS: disk.OS, Like: disk.DefaultAccess, Policy: func(t *disk.Target) error {
		if t.File == nil {
			return nil
		}
		return refuseImage(cmd, name) // again, now that it is locked
	}}
	file, err := r.Create(resolved)
	if err != nil {
		return nil, r.Abandon(err)
	}
	return &OutFile{io.NewOffsetWriter(file, 0), func(err error) error {
		if err == nil {
			err = r.Publish()
		}
		return r.Abandon(err)
	}}, nil
}

// refuseImage refuses to write anything else to an image.
func refuseImage(cmd *cobra.Command, name string) error {
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	known := image.Known(disk.OS, name, "")
	if !known {
		f, err := foreign.Detect(all.Formats, disk.OS, name)
		if err != nil {
			return err
		}
		known = f != nil
	}
	if !known {
		return nil
	}
	return &image.HintError{
		Err:  fmt.Errorf("%s is an image; %s does not overwrite images", name, cmd.CommandPath()),
		Hint: "choose another name, or remove it first",
	}
}
