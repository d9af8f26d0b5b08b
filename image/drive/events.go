package drive

import (
	"slices"
	"sync"

	"zimg/layout"
)

// Asynchronous events (NVMe Base 2.0, section 5.2): the type in bits 2:0, the information
// in bits 15:8, the log page that has more in bits 23:16. The upper dword of a zone event
// is the namespace (ZNS 1.1, section 3.1.1).
const (
	eventNotice       = 2
	infoNamespace     = 0x00
	infoZone          = 0xEF
	logChangedNS      = 0x04
	logChangedZones   = 0xBF
	noticeNamespace   = 1 << 8  // of Asynchronous Event Configuration
	noticeZone        = 1 << 27 // of Asynchronous Event Configuration
	changedListMost   = 511     // zones of a Changed Zone List
	changedNSMost     = 1024
	changedZonesShown = 0xFFFF // NRZID of a list that has overflown
)

// events are the asynchronous events of one controller, and what its logs say about them.
// What has been reported is masked until the host has read the log page.
type events struct {
	mu       sync.Mutex
	config   uint32
	requests []eventRequest // Asynchronous Event Requests that wait
	zones    map[layout.NSID]*changedZones
	spaces   []layout.NSID // namespaces that changed; more than changedNSMost: too many
	masked   bool          // the namespace notice was reported
	dirty    bool          // it has something to report
}

type eventRequest struct {
	cid  uint16
	done func(Completion)
}

// changedZones is the Changed Zone List of one namespace.
type changedZones struct {
	list     []layout.LBA // first blocks of zones
	overflow bool
	dirty    bool // there is something to report
	masked   bool // it was reported, and not read yet
}

// wait takes an Asynchronous Event Request.
func (e *events) wait(cmd *Command, done func(Completion)) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) > asyncLimit {
		return AsyncLimitExceeded.fatal()
	}
	e.requests = append(e.requests, eventRequest{cmd.CID(), done})
	return Success
}

// take takes the request with the given identifier, nil if there is none; the caller ends it.
func (e *events) take(cid uint16) func(Completion) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.requests, func(r eventRequest) bool { return r.cid == cid })
	if i < 0 {
		return nil
	}
	done := e.requests[i].done
	e.requests = slices.Delete(e.requests, i, i+1)
	return done
}

// reset takes all requests, which the caller ends, and forgets what was to be reported.
func (e *events) reset() (waiting []func(Completion)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		waiting = append(waiting, r.done)
	}
	e.config, e.requests, e.zones, e.spaces, e.masked, e.dirty = 0, nil, nil, nil, false, false
	return waiting
}

// zoneChanged puts a zone on the Changed Zone List of its namespace.
func (e *events) zoneChanged(id layout.NSID, start layout.LBA) {
	e.mu.Lock()
	if e.zones == nil {
		e.zones = map[layout.NSID]*changedZones{}
	}
	z := e.zones[id]
	if z == nil {
		z = &changedZones{}
		e.zones[id] = z
	}
	switch {
	case slices.Contains(z.list, start):
	case len(z.list) >= changedListMost:
		z.overflow = true
	default:
		z.list = append(z.list, start)
	}
	z.dirty = true
	e.mu.Unlock()
	e.deliver()
}

// namespaceChanged puts a namespace on the list of changed ones.
func (e *events) namespaceChanged(id layout.NSID) {
	e.mu.Lock()
	if !slices.Contains(e.spaces, id) && len(e.spaces) <= changedNSMost {
		e.spaces = append(e.spaces, id)
	}
	e.dirty = true
	e.mu.Unlock()
	e.deliver()
}

// deliver answers requests with the events that there are. No lock may be held: a
// transport that answers may take its time.
func (e *events) deliver() {
	for {
		e.mu.Lock()
		if len(e.requests) == 0 {
			e.mu.Unlock()
			return
		}
		result, ok := e.next()
		if !ok {
			e.mu.Unlock()
			return
		}
		r := e.requests[0]
		e.requests = slices.Delete(e.requests, 0, 1)
		e.mu.Unlock()
		r.done(Completion{Result: result})
	}
}

// next takes the next event that the host wants. e.mu is held.
func (e *events) next() (uint64, bool) {
	if e.dirty && !e.masked && e.config&noticeNamespace != 0 {
		e.dirty, e.masked = false, true
		return logChangedNS<<16 | infoNamespace<<8 | eventNotice, true
	}
	if e.config&noticeZone == 0 {
		return 0, false
	}
	for id, z := range e.zones {
		if z.dirty && !z.masked {
			z.dirty, z.masked = false, true
			return uint64(id)<<32 | logChangedZones<<16 | infoZone<<8 | eventNotice, true
		}
	}
	return 0, false
}

// configure sets which events are reported.
func (e *events) configure(config uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config = config
}

func (e *events) configuration() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config
}

// changedNamespaces fills b with log 04h, and clears it unless it is to be retained.
func (e *events) changedNamespaces(b []byte, retain bool) {
	e.mu.Lock()
	if len(e.spaces) > changedNSMost {
		le.PutUint32(b, uint32(allNamespaces))
	} else {
		slices.Sort(e.spaces)
		for i, id := range e.spaces {
			le.PutUint32(b[4*i:], uint32(id))
		}
	}
	if !retain {
		e.spaces, e.masked, e.dirty = nil, false, false
	}
	e.mu.Unlock()
}

// changedZoneList fills b with log BFh of a namespace, and clears it unless it is to be
// retained (ZNS 1.1, section 3.2.1).
func (e *events) changedZoneList(id layout.NSID, b []byte, retain bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	z := e.zones[id]
	if z == nil {
		return
	}
	if z.overflow {
		le.PutUint16(b, changedZonesShown)
	} else {
		le.PutUint16(b, uint16(len(z.list)))
		for i, start := range z.list {
			le.PutUint64(b[8+8*i:], uint64(start))
		}
	}
	if !retain {
		delete(e.zones, id)
	}
}
