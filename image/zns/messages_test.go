package zns_test

import (
	"strings"
	"testing"

	"zimg/image/zns"
	"zimg/layout"
)

// What a zone does not take is refused by the status of the specification and the reason.
func TestReasons(t *testing.T) {
	t.Parallel()
	mixed := testNamespace(4, 2, 0)
	m, store := machine(mixed, closed, closed, closed)
	store.Table[3].Type, store.Table[3].State = layout.Conventional, layout.NotWP
	full, _ := machine(testNamespace(4, 1, 0), layout.ExplicitlyOpened)
	_, appended := full.Append(5, 1)
	all := m.All(zns.ActionOpen)
	for _, c := range []struct {
		err  error
		want string
	}{
		{m.SetOffline(3), "zone 3 (Not Write Pointer): Invalid Zone State Transition: conventional zones do not have this state"},
		{appended, "Invalid Field in Command: append needs the start LBA of a sequential zone, not 5"},
		{full.Open(1), "zone 1 (Empty): Too Many Open Zones: 1 of 1 zones are explicitly open; close one"},
		{all, "cannot open 3 Closed zones: 0 of 2 open resources are in use"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}
