package drive

import "sync"

const errorEntryLen = 64

// errorLog has the last commands of a controller that failed, the newest first in the log page.
type errorLog struct {
	mu      sync.Mutex
	count   uint64 // of all errors since the controller was made
	entries [errorLogEntries]errorEntry
}

type errorEntry struct {
	count uint64
	qid   uint16
	cmd   Command
	st    Status
}

// failed notes that a command ended with an error.
func (c *Controller) failed(qid uint16, cmd *Command, st Status) {
	c.d.stats.allErrors.Add(1)
	switch st.Code() { //nolint:exhaustive // the others are not the media's
	case WriteFault, UnrecoveredRead, GuardCheckError, ApplicationTagError, ReferenceTagError:
		c.d.stats.mediaErrors.Add(1)
	}
	e := &c.errors
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries[e.count%errorLogEntries] = errorEntry{count: e.count + 1, qid: qid, cmd: *cmd, st: st}
	e.count++
}

// page fills the Error Information log (NVMe Base 2.0, figure 206).
func (e *errorLog) page(b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := uint64(0); i < min(e.count, errorLogEntries); i++ {
		entry := &e.entries[(e.count-1-i)%errorLogEntries]
		b := b[i*errorEntryLen:]
		le.PutUint64(b, entry.count)
		le.PutUint16(b[8:], entry.qid)
		le.PutUint16(b[10:], entry.cmd.CID())
		le.PutUint16(b[12:], uint16(entry.st)<<1)
		le.PutUint16(b[14:], 0xFFFF) // of no particular parameter
		if entry.qid > 0 {
			le.PutUint64(b[16:], uint64(entry.cmd.SLBA()))
		}
		le.PutUint32(b[24:], uint32(entry.cmd.NSID()))
	}
}
