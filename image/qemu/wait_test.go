package qemu

import (
	"fmt"
	"testing"
)

// Which of QEMU's events end a run. For -action watchdog=poweroff QEMU has to pause instead (see setActions).
func TestEndingEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, data string
		caller     callerArgs
		over       bool
		gone       bool
	}{
		{"SHUTDOWN", `{"guest": true, "reason": "guest-shutdown"}`, callerArgs{}, true, false},
		{"SHUTDOWN", `{"guest": true, "reason": "guest-reset"}`, callerArgs{noReboot: true}, true, false},
		{"SHUTDOWN", `{"guest": false, "reason": "host-qmp-quit"}`, callerArgs{}, false, true},
		{"SHUTDOWN", `{"guest": false, "reason": "host-signal"}`, callerArgs{}, false, true},
		{"GUEST_PANICKED", `{"action": "pause"}`, callerArgs{}, true, false},
		{"GUEST_PANICKED", `{"action": "pause"}`, callerArgs{panic: "pause"}, false, false},
		{"GUEST_PANICKED", `{"action": "pause"}`, callerArgs{stays: true}, false, false},
		{"GUEST_PANICKED", `{"action": "run"}`, callerArgs{panic: "none"}, false, false},
		{"WATCHDOG", `{"action": "pause"}`, callerArgs{watchdog: "poweroff"}, true, false},
		{"WATCHDOG", `{"action": "pause"}`, callerArgs{watchdog: "pause"}, false, false},
		{"WATCHDOG", `{"action": "reset"}`, callerArgs{}, false, false},
		{"RESET", `{}`, callerArgs{}, false, false},
		{"STOP", ``, callerArgs{}, false, false},
	} {
		exited := make(chan struct{})
		close(exited)
		s := &session{caller: c.caller, exited: exited}
		over, err := s.event(Event{Name: c.name, Data: []byte(c.data)})
		if over != c.over || (err != nil) != c.gone {
			t.Errorf("%s %s with %+v: %v, %v; want %v", c.name, c.data, c.caller, over, err, c.over)
		}
	}
}

// What ends a run says so: a power cut saves nothing.
func TestWaitSays(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	close(ended)
	for _, c := range []struct {
		stop, off <-chan struct{}
		want      string
	}{
		{stop: ended, want: "saving the zones and ending QEMU"},
		{off: ended, want: "the power was cut: ending QEMU"},
	} {
		got := ""
		s := &session{Config: Config{Off: c.off, Log: func(format string, args ...any) { got += fmt.Sprintf(format, args...) }}}
		s.qmp, s.drives = &QMP{}, &own{session: s}
		if err := s.wait(t.Context(), c.stop); err != nil || got != c.want || !s.saved {
			t.Errorf("%v, %q; want %q", err, got, c.want)
		}
	}
}
