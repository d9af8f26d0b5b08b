package crash_test

import (
	"testing"

	"zimg/image/crash"
	"zimg/layout"
)

// cutStore is a drive with one zoned namespace.
type cutStore struct{ zones []layout.Zone }

func (s *cutStore) Zone(_ int, zone uint64) (layout.Zone, error) { return s.zones[zone], nil }

func (s *cutStore) SetZone(_ int, zone uint64, z layout.Zone) error {
	s.zones[zone] = z
	return nil
}

func (s *cutStore) Active(int) uint64                           { return 0 }
func (s *cutStore) Write(int, layout.LBA, []byte, []byte) error { return nil }

// A write with FUA makes what is before it in its zone durable, and nothing that another host has written after it in
// the meantime.
func TestCutPersist(t *testing.T) {
	t.Parallel()
	n := zoned(0)
	c := crash.NewCut([]*layout.Namespace{&n})
	z := n.EmptyZone(1)
	var steps []crash.Step
	for i := range int64(4) {
		s := crash.Step{Op: crash.Write, Zone: 1, Off: zone + i*2*block, Length: 2 * block, Entry: int(1 + i)}
		c.Add(s, z, crash.Undo{})
		z = crash.Advanced(&n, z, layout.LBA(16+2*(i+1)))
		steps = append(steps, s)
	}
	c.Persist(steps[1])
	st := &cutStore{zones: []layout.Zone{n.EmptyZone(0), z}}
	if err := c.Settle(st, crash.Drop, 1, 5); err != nil {
		t.Fatal(err)
	}
	if got := st.zones[1]; got.Written != 20 || got.State != layout.Closed {
		t.Errorf("%+v, want written 20", got)
	}
	// A reset, and new writes: the answer to an old one means nothing for them.
	c.Persist(crash.Step{Op: crash.Write, Zone: 1, Off: zone + 6*block, Length: 2 * block, Entry: 1})
	if err := c.Settle(st, crash.Drop, 1, 5); err != nil || st.zones[1].Written != 20 {
		t.Errorf("%+v, %v, want written 20", st.zones[1], err)
	}
	c.Persist(steps[3])
	st.zones[1] = z
	if err := c.Settle(st, crash.Drop, 1, 5); err != nil {
		t.Fatal(err)
	}
	if got := st.zones[1]; got != z {
		t.Errorf("%+v, want %+v", got, z)
	}
}
