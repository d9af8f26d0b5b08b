package disk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"zimg/image/disk"
)

// patient opens name in a file system that waits for locks.
func patient(ctx context.Context, t *testing.T, d time.Duration, name string) disk.File {
	t.Helper()
	f, err := disk.Patient(ctx, d).Open(name, disk.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestPatient(t *testing.T) {
	t.Parallel()
	name := create(t, mib).Name()
	holder := open(t, name, disk.ReadWrite)
	lock(t, holder, disk.LockWrite)

	start := time.Now()
	err := patient(t.Context(), t, 50*time.Millisecond, name).Lock(disk.LockRead)
	if waited := time.Since(start); !errors.Is(err, disk.ErrLocked) || waited < 50*time.Millisecond {
		t.Errorf("after %v: %v", waited, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := patient(ctx, t, time.Hour, name).Lock(disk.LockRead); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}

	result := make(chan error, 1)
	waiting := patient(t.Context(), t, time.Hour, name)
	go func() { result <- waiting.Lock(disk.LockWrite) }()
	select {
	case err := <-result:
		t.Fatalf("locked twice: %v", err)
	case <-time.After(60 * time.Millisecond):
	}
	lock(t, holder, disk.LockNone)
	if err := <-result; err != nil {
		t.Errorf("after the lock was given back: %v", err)
	}
}
