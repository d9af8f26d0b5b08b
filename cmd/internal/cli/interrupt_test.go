package cli

import (
	"os"
	"testing"
	"time"
)

// A second signal that comes with the first ends the process if the command does not end in its time.
func TestTwice(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	close(over)
	signals := make(chan os.Signal, 1)
	if twice(signals, nil, time.Nanosecond) {
		t.Error("one signal counts as two")
	}
	signals <- os.Interrupt
	if !twice(signals, nil, time.Nanosecond) {
		t.Error("the second signal is lost")
	}
	signals <- os.Interrupt
	if twice(signals, over, time.Hour) {
		t.Error("a command that has ended is killed")
	}
}
