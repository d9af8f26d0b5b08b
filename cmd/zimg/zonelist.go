package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/layout"
)

// parseZones reads a list of zones of n: numbers, ranges such as 4-9 or 12- (to the last zone), separated by commas; or
// "all". The ranges that it returns are sorted and do not overlap.
func parseZones(list string, n *layout.Namespace) ([]image.ZoneRange, error) {
	if list == "all" {
		return []image.ZoneRange{{First: 0, Last: n.ZoneCount - 1}}, nil
	}
	var ranges []image.ZoneRange
	for item := range strings.SplitSeq(list, ",") {
		r, err := parseZoneRange(item, n)
		if err != nil {
			return nil, inList(err, item, list)
		}
		ranges = append(ranges, r)
	}
	return mergeZones(ranges), nil
}

// parseZoneRange reads one item of a list of zones.
func parseZoneRange(item string, n *layout.Namespace) (r image.ZoneRange, err error) {
	first, last, isRange := strings.Cut(item, "-")
	r.First, err = strconv.ParseUint(first, 0, 64)
	switch {
	case err != nil:
	case !isRange:
		r.Last = r.First
	case last == "":
		r.Last = max(r.First, n.ZoneCount-1)
	default:
		r.Last, err = strconv.ParseUint(last, 0, 64)
	}
	switch {
	case err != nil:
		return r, cli.UsageError("invalid zone %q: use numbers and ranges such as 0,3,7-9,12-, or \"all\"", item)
	case r.Last < r.First:
		return r, cli.UsageError("the range %s ends before it begins", item)
	case r.Last >= n.ZoneCount:
		return r, layout.Errorf(layout.ErrRange, "namespace %d has zones 0 to %d; there is no zone %d", n.ID, n.ZoneCount-1, r.Last)
	}
	return r, nil
}

// inList says of an error of one item in which list the item is, if there are others in it.
func inList(err error, item, list string) error {
	if item == list {
		return err
	}
	if usage, ok := err.(*cli.CodedError); ok { //nolint:errorlint // it was just made, and is not wrapped
		return cli.UsageError("zones %s: %v", list, usage)
	}
	return fmt.Errorf("zones %s: %w", list, err)
}

// mergeZones sorts ranges, and joins those that overlap or follow one another.
func mergeZones(ranges []image.ZoneRange) []image.ZoneRange {
	slices.SortFunc(ranges, func(a, b image.ZoneRange) int { return cmp.Compare(a.First, b.First) })
	merged := ranges[:1]
	for _, r := range ranges[1:] {
		last := &merged[len(merged)-1]
		if r.First <= last.Last+1 {
			last.Last = max(last.Last, r.Last)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// parsePointer reads where set-wp --written puts write pointers: a number of blocks, a size with a suffix or a
// percentage of the capacity, from the start of a zone; or, with a sign, a number of blocks or a size to add to what is written.
func parsePointer(s string, n *layout.Namespace) (p image.Pointer, err error) {
	if number, isShare := strings.CutSuffix(s, "%"); isShare {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent >= 0 && percent <= 100) { // NaN is not
			return p, cli.UsageError("--written %s: must be from 0%% to 100%%", s)
		}
		p.Share = percent / 100
		return p, nil
	}
	number := strings.TrimLeft(s, "+-")
	p.Relative = number != s
	p.Blocks, err = strconv.ParseInt(number, 0, 64)
	if err != nil && len(s)-len(number) < 2 {
		var size int64
		if size, err = cli.ParseSize(number); err == nil && size%int64(n.BlockSize()) != 0 {
			return p, cli.UsageError("--written: %w", nearest("size", uint64(size), uint64(n.BlockSize()), "block size"))
		}
		p.Blocks = size / int64(n.BlockSize())
	}
	if err != nil || len(s)-len(number) > 1 {
		return p, cli.UsageError("--written %q: use a number of blocks, a size such as 1M, +1M or -1M, or a percentage", s)
	}
	if s[0] == '-' {
		p.Blocks = -p.Blocks
	}
	return p, nil
}
