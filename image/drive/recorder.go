package drive

import "zimg/layout"

// A Recorder is told of everything that changes the data of a drive, in an order in which
// the drive may have done it: before each write and discard, and after each flush. An
// error fails the command. Its methods are called by many goroutines.
type Recorder interface {
	Write(id layout.NSID, lba layout.LBA, data, meta []byte, fua bool) error
	Discard(id layout.NSID, lba, blocks layout.LBA) error
	Flush() error
}
