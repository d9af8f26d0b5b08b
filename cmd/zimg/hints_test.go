package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"zimg/image/foreign"
	"zimg/layout"
)

// An image of another size than a device is not refused without saying how to get one that fits.
func TestHintZoneCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		device, source uint64
		want           string
	}{
		{256, 8, "zimg resize copy.zimg 256"},
		{8, 256, "zimg resize --shrink copy.zimg 8"},
	} {
		err := fmt.Errorf("/dev/nullb0: %w", &foreign.ZoneCountError{Device: c.device, Source: c.source})
		if hint := hintBelow(err); !strings.HasSuffix(hint, c.want) {
			t.Errorf("%d zones to %d: hint %q", c.source, c.device, hint)
		}
		if !errors.Is(err, layout.ErrGeometry) {
			t.Error("it is not an error of the geometry")
		}
	}
}
