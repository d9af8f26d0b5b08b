package serve

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"zimg/image/disk"
	"zimg/image/drive/tcp/host"
	"zimg/image/imagetest"
	"zimg/layout"
)

// target serves a new image over TCP until stop is called, which waits for its end.
func target(t *testing.T) (d *Disk, address string, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.zimg")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(disk.OS, path); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDisk(t.Context(), Image{Path: path}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	o := TCP{Listen: []string{"127.0.0.1:0"}}
	o.MaxHosts, o.IOQueues, o.Log = 64, 4, func(string, ...any) {}
	tg, err := Listen([]*Disk{d}, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tg.Serve(ctx) }()
	return d, tg.Listeners[0].Addr().String(), func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// dial connects a host with two I/O queues; each number is another host.
func dial(t *testing.T, d *Disk, address string, number byte) *host.Controller {
	t.Helper()
	c, err := host.Dial(func() (net.Conn, error) { return net.DialTimeout("tcp", address, 10*time.Second) }, host.Options{InCapsule: 8192},
		host.Params{SubNQN: d.Drive.NQN(), HostNQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555", HostID: [16]byte{number, 1}, SQSize: 127}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Hosts that come and go, with a shutdown and without, leave nothing: no goroutines, no memory.
func TestHostsComeAndGo(t *testing.T) {
	hosts := 1000
	if testing.Short() {
		hosts = 100
	}
	d, address, stop := target(t)
	visit := func(i int) {
		c := dial(t, d, address, byte(i%7))
		if i%2 == 0 {
			if err := c.Admin.Shutdown(); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	}
	for i := range 50 { // buffers that are kept
		visit(i)
	}
	goroutines, heap := settled(t, 0)
	for i := range hosts {
		visit(i)
	}
	after, used := settled(t, goroutines)
	t.Logf("%d hosts: %d goroutines before, %d after; heap %d KiB before, %d KiB after", hosts, goroutines, after, heap>>10, used>>10)
	if after > goroutines {
		t.Errorf("%d goroutines, %d before", after, goroutines)
	}
	if used > heap+2<<20 {
		t.Errorf("the heap grew from %d to %d bytes", heap, used)
	}
	stop()
}

// settled waits until there are at most want goroutines, or no fewer for a while; it returns how many, and the heap.
func settled(t *testing.T, want int) (goroutines int, heap uint64) {
	t.Helper()
	last, since := runtime.NumGoroutine(), time.Now()
	for ; time.Since(since) < 2*time.Second && (want == 0 || last > want); time.Sleep(10 * time.Millisecond) {
		if n := runtime.NumGoroutine(); n < last {
			last, since = n, time.Now()
		}
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// The service ends while hosts are connected: those that have asked for a shutdown and still have their I/O queues, and
// those that have not.
func TestServeEndsWithHosts(t *testing.T) {
	t.Parallel()
	d, address, stop := target(t)
	for i := range byte(6) {
		c := dial(t, d, address, i)
		defer c.Close()
		if i%2 == 0 {
			if err := c.Admin.Shutdown(); err != nil {
				t.Error(err)
			}
		}
	}
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
}
