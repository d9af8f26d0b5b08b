package disk

import "io/fs"

// Scratch is OS for files that nobody misses after a crash: it syncs nothing. What another
// program reads of them is all there.
var Scratch FS = scratchFS{}

type scratchFS struct{ osFS }

type scratchFile struct{ *osFile }

func (s scratchFS) Open(name string, mode Mode, perm fs.FileMode) (File, error) {
	file, err := s.osFS.Open(name, mode, perm)
	if err != nil {
		return nil, err
	}
	return scratchFile{file.(*osFile)}, nil
}

func (scratchFS) SyncDir(string) error { return nil }

func (scratchFile) Sync() error { return nil }
