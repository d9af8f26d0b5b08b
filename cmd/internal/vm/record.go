package vm

import (
	"context"
	"fmt"
	"path/filepath"

	"zimg/image/crash"
	"zimg/image/qemu"
)

// record makes the folder of a recording of the only image of the run. The image stays locked while it is copied.
func (r *run) record(ctx context.Context) (*qemu.Record, error) {
	if err := crash.Recordable(r.images[0].Namespaces()); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Paths[0], err)
	}
	dir, err := filepath.Abs(r.Record)
	if err != nil {
		return nil, err
	}
	rec := &qemu.Record{Log: filepath.Join(dir, crash.LogName), Trace: filepath.Join(dir, crash.TraceName), TraceEvents: crash.TraceEvents()}
	if r.dry {
		return rec, nil
	}
	return rec, crash.Prepare(ctx, dir, r.images[0])
}
