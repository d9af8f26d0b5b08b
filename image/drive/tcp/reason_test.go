package tcp

import (
	"errors"
	"os"
	"testing"
	"time"
)

// The log says for what a connection was waiting when its time was over.
func TestReason(t *testing.T) {
	t.Parallel()
	another := errors.New("another error")
	timeout := os.ErrDeadlineExceeded
	for want, c := range map[string]struct {
		set func(r *reader)
		err error
	}{
		"another error":                                  {func(*reader) {}, another},
		"no queue was created in time":                   {func(r *reader) { r.limit = time.Unix(1, 0) }, timeout},
		"the peer stopped in the middle of a PDU for 1s": {func(r *reader) { r.begun, r.stall = true, time.Second }, timeout},
		"keep-alive timeout":                             {func(r *reader) { r.idle = time.Second }, timeout},
	} {
		var waiting conn
		c.set(&waiting.in)
		if err := waiting.reason(c.err); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
