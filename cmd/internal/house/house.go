// Package house holds the rules that the source of zimg itself keeps, as tests: where a thing may be done, how long
// a file may be, and which package may import which. The picture of the imports in docs/ARCHITECTURE.md is
// compared with the code; go test ./cmd/internal/house -update draws it anew.
package house
