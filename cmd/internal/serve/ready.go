package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// Ready notifies scripts and service managers that hosts may connect: it writes text as a line to descriptor fd and closes
// it, unless fd is negative, and notifies systemd (sd_notify(3)).
func Ready(fd int, text string) error {
	var errs []error
	if fd >= 0 {
		f := os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
		_, err := fmt.Fprintln(f, text)
		if closed := f.Close(); err == nil {
			err = closed
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, notify("READY=1"))...)
}

// Stopping notifies systemd that the service ends.
func Stopping() { _ = notify("STOPPING=1") }

// notify sends state to the socket that systemd names in NOTIFY_SOCKET, if it does.
func notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if name[0] == '@' { // an abstract address
		name = "\x00" + name[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot notify the service manager at NOTIFY_SOCKET: %w", err)
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}
