package compare_test

import (
	"testing"

	"zimg/image/compare"
	"zimg/image/foreign"
	"zimg/layout"
)

// A side whose data is not available cannot be compared.
func TestNoData(t *testing.T) {
	t.Parallel()
	side := compare.Side{Contents: []*foreign.Content{{NS: &layout.Namespace{ID: 1, BlockBits: 9, Blocks: 8}}}}
	err := compare.Sides(side, side, compare.Options{Report: func(d compare.Difference) bool {
		t.Errorf("a difference: %+v", d)
		return true
	}})
	if err == nil || err.Error() != "no data file to compare" {
		t.Error(err)
	}
}
