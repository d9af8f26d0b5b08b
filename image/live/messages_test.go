package live_test

import (
	"errors"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// What a Store cannot do is refused by a message that says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	_, st, err := openStore(create(t, layout.Trailing), live.Options{BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	n := st.Namespace(1)
	moved := n.EmptyZone(5)
	moved.Start++
	interrupted := create(t, layout.Trailing)
	if err := imagetest.Damage(interrupted, path, "interrupted"); err != nil {
		t.Fatal(err)
	}
	_, _, unclean := openStore(interrupted, live.Options{BootID: boot})
	if !errors.Is(unclean, image.ErrUnclean) {
		t.Errorf("an interrupted image: %v", unclean)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{n.SetExtension(5, make([]byte, 65)), "extension of 65 bytes is too long: namespace 1 has 64 bytes per zone"},
		{n.SetZone(5, moved), "namespace 1 zone 5: {"},
		{unclean, path + " was neither closed cleanly nor served"},
	} {
		if c.want == "namespace 1 zone 5: {" && c.err != nil && !strings.Contains(c.err.Error(), "} cannot become {") {
			t.Error(c.err)
		}
		if c.err == nil || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}
