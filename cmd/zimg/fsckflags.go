package main

import "strings"

// fsckFlags are the one-letter flags of fsck(8)'s checkers, as fsck.zimg takes them, and what they are for zimg check.
var fsckFlags = map[byte]string{
	'a': "--preen", 'p': "--preen", // repair what is safe
	'n': "--no",    // change nothing
	'y': "--yes",   // repair all
	'f': "--data",  // even if it looks clean: compare with the data
	'v': "--all",   // say everything
	't': "--times", // say how long it took
}

// translateFsck turns the arguments of fsck.zimg into those of zimg check. One-letter flags may share a word; -C has a file
// descriptor, in the same word or the next, or none for a terminal. Long flags are those of zimg check. With -V the version is printed.
func translateFsck(args []string) []string {
	rest := []string{"check", "--fsck"}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			return append(rest, args[i:]...)
		}
		if len(a) < 2 || a[0] != '-' || a[1] == '-' {
			rest = append(rest, a)
			continue
		}
		for k := 1; k < len(a); k++ {
			long, known := fsckFlags[a[k]]
			switch {
			case a[k] == 'V':
				return []string{"version"}
			case a[k] == 'C':
				fd := a[k+1:]
				if fd == "" && i+1 < len(args) && strings.Trim(args[i+1], "0123456789") == "" && args[i+1] != "" {
					i++
					fd = args[i]
				}
				if fd == "" {
					fd = "0"
				}
				rest = append(rest, "--progress-fd="+fd)
				k = len(a)
			case known:
				rest = append(rest, long)
			default: // another flag of zimg check, with its value
				rest = append(rest, "-"+a[k:])
				k = len(a)
			}
		}
	}
	return rest
}
