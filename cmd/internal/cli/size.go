package cli

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// sizeUnits are the suffixes of sizes, by power of 1024.
const sizeUnits = "KMGTPE"

// ParseSize reads a size: digits, and K, M, G, T, P or E for powers of 1024, as
// qemu-img takes it; KiB and KB and so on as util-linux does, the latter powers of 1000. A fraction
// like 1.5G is fine if it comes to whole bytes, and 0x begins a hexadecimal number of them.
func ParseSize(s string) (int64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 64)
		return checkedSize(s, n, err)
	}
	number := strings.TrimRight(s, "kKmMgGtTpPeEiIbB")
	whole, fraction, point := strings.Cut(number, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" || point && fraction == "" {
		return checkedSize(s, 0, strconv.ErrSyntax)
	}
	factor, err := sizeFactor(s[len(number):])
	if err != nil {
		return 0, fmt.Errorf("%q: %w", s, err)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(fraction) > maxFraction {
		return checkedSize(s, 0, strconv.ErrRange)
	}
	scale := uint64(1)
	for range fraction {
		scale *= 10
	}
	high, low := bits.Mul64(n, factor)
	if high >= scale {
		return checkedSize(s, 0, strconv.ErrRange)
	}
	n, rest := bits.Div64(high, low, scale)
	if rest != 0 {
		return 0, fmt.Errorf("%q is not a whole number of bytes", s)
	}
	return checkedSize(s, n, nil)
}

// maxFraction is how many digits after the point there is room for: 10 to that power is below 2^64.
const maxFraction = 19

// checkedSize is the size n that s stands for, or what is wrong with s.
func checkedSize(s string, n uint64, err error) (int64, error) {
	switch {
	case errors.Is(err, strconv.ErrRange), n > math.MaxInt64:
		return 0, fmt.Errorf("%q is too large", s)
	case err != nil:
		return 0, fmt.Errorf("invalid size %q: use a number with an optional suffix K, M, G, T, P or E", s)
	}
	return int64(n), nil
}

func sizeFactor(suffix string) (uint64, error) {
	if suffix == "" || strings.EqualFold(suffix, "b") {
		return 1, nil
	}
	power := strings.IndexByte(sizeUnits, suffix[0]&^0x20) + 1
	base := uint64(1024)
	switch rest := suffix[1:]; {
	case power == 0:
	case rest == "" || rest == "iB" || rest == "ib" || rest == "i":
		return pow(base, power), nil
	case rest == "B" || rest == "b":
		return pow(1000, power), nil
	}
	return 0, fmt.Errorf("unknown unit %q: use K, M, G, T, P, E or KiB ... (powers of 1024), KB ... (powers of 1000)", suffix)
}

func pow(base uint64, n int) uint64 {
	r := uint64(1)
	for range n {
		r *= base
	}
	return r
}

// FormatSize writes n exactly, with the largest unit that leaves a whole number;
// parseSize reads it.
func FormatSize(n int64) string {
	unit := -1
	for n != 0 && n%1024 == 0 && unit < len(sizeUnits)-1 {
		n /= 1024
		unit++
	}
	if unit < 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + sizeUnits[unit:unit+1]
}

// SizeFlag is a flag whose value is a size; it implements pflag.Value.
type SizeFlag struct{ To *uint64 }

// String is the value as the help shows it.
func (f *SizeFlag) String() string {
	if f.To == nil || *f.To == 0 {
		return ""
	}
	return FormatSize(int64(*f.To))
}

// Set parses s.
func (f *SizeFlag) Set(s string) error {
	n, err := ParseSize(s)
	if err == nil {
		*f.To = uint64(n)
	}
	return err
}

// Type is what the help calls the value.
func (f *SizeFlag) Type() string { return "size" }

// HumanSize is a size as qemu-img info prints it: three digits.
func HumanSize(n int64) string {
	const units = "KMGTPE"
	f, u := float64(n), -1
	for f >= 1000 && u < len(units)-1 {
		f /= 1024
		u++
	}
	if u < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %ciB", f, units[u])
}
