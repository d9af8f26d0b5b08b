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
	return numbering{
		first: 0, last: n.ZoneCount - 1, noun: "zone", absent: n.CheckZoneNumber,
	}.parse(list)
}

// numbering is what numbers in a list stand for.
type numbering struct {
	first, last uint64
	noun        string
	absent      func(i uint64) error // the error of a number that is not from first to last
}

// parse reads a list as parseZones does.
func (n numbering) parse(list string) ([]image.ZoneRange, error) {
	if list == "all" {
		return []image.ZoneRange{{First: n.first, Last: n.last}}, nil
	}
	var ranges []image.ZoneRange
	for item := range strings.SplitSeq(list, ",") {
		r, err := n.parseRange(item)
		if err != nil {
			return nil, inList(err, n.noun+"s", item, list)
		}
		ranges = append(ranges, r)
	}
	return mergeZones(ranges), nil
}

// parseRange reads one item of a list.
func (n numbering) parseRange(item string) (r image.ZoneRange, err error) {
	first, last, isRange := strings.Cut(item, "-")
	r.First, err = strconv.ParseUint(first, 0, 64)
	switch {
	case err != nil:
	case !isRange:
		r.Last = r.First
	case last == "":
		r.Last = max(r.First, n.last)
	default:
		r.Last, err = strconv.ParseUint(last, 0, 64)
	}
	switch {
	case err != nil:
		return r, cli.UsageError("invalid %s %q: use numbers and ranges such as 0,3,7-9,12-, or \"all\"", n.noun, item)
	case r.Last < r.First:
		return r, cli.UsageError("the range %s ends before it begins", item)
	case r.Last > n.last:
		return r, n.absent(r.Last)
	case r.First < n.first:
		return r, n.absent(r.First)
	}
	return r, nil
}

// inList says of an error of one item in which list the item is, if there are others in it.
func inList(err error, noun, item, list string) error {
	if item == list {
		return err
	}
	if usage, ok := err.(*cli.CodedError); ok { //nolint:errorlint // it was just made, and is not wrapped
		return cli.UsageError("%s %s: %v", noun, list, usage)
	}
	return fmt.Errorf("%s %s: %w", noun, list, err)
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
