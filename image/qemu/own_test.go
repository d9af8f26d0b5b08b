package qemu

import (
	"slices"
	"testing"
)

// Guest memory is made shared where the caller gives its size alone, and left alone otherwise.
func TestSharedMemory(t *testing.T) {
	t.Parallel()
	shared := func(size string) []string {
		return []string{"-object", "memory-backend-memfd,id=zimg-ram,share=on,size=" + size, "-machine", "memory-backend=zimg-ram"}
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"-m", "512"}, shared("536870912")},
		{[]string{"--m", "2G", "-smp", "2"}, shared("2147483648")},
		{[]string{"-m", "size=1g,slots=2,maxmem=4G"}, shared("1073741824")},
		{[]string{"-nographic", "-m", "1048576K"}, shared("1073741824")},
		{[]string{"-smp", "2"}, nil},
		{[]string{"-m", "lots"}, nil},
		{[]string{"-m", "1.5G"}, nil},
		{[]string{"-m", "1G", "-object", "memory-backend-file,id=m,size=1G,mem-path=/x"}, nil},
		{[]string{"-m", "1G", "-mem-path", "/dev/hugepages"}, nil},
		{[]string{"-m", "1G", "-machine", "q35,memory-backend=m"}, nil},
		{[]string{"-m", "1G", "-numa", "node"}, nil},
	} {
		if got := sharedMemory(tt.args); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}
