//go:build !linux

package vfiouser

import (
	"net"

	"zimg/image/drive"
)

// Serve returns ErrUnsupported.
func Serve(*net.UnixConn, *drive.Drive, Options) error { return ErrUnsupported }

// Listen returns ErrUnsupported.
func Listen(string) (*net.UnixListener, error) { return nil, ErrUnsupported }
