package drive

import (
	"encoding/binary"
	"sync"
	"time"

	"zimg/layout"
)

// Feature identifiers (NVMe Base 2.0, figure 317).
const (
	featArbitration    = 0x01
	featPower          = 0x02
	featTemperature    = 0x04
	featErrorRecovery  = 0x05
	featWriteCache     = 0x06
	featQueues         = 0x07
	featCoalescing     = 0x08
	featVector         = 0x09
	featAtomicity      = 0x0A
	featAsyncEvents    = 0x0B
	featTimestamp      = 0x0E
	featKeepAlive      = 0x0F
	featHostBehavior   = 0x16
	featCommandSets    = 0x19
	featProgressMarker = 0x80
	featHostID         = 0x81
)

// Lengths of the data of features, and fields of the commands.
const (
	timestampLen    = 8
	hostBehaviorLen = 512
	hostIDLen       = 16
	hostIDShortLen  = 8
	hostIDExtended  = 1 << 0
	selectDefault   = 1
	selectSaved     = 2
	selectCapable   = 3
	capChangeable   = 1 << 2
	capNamespace    = 1 << 1
	featureSave     = 1 << 31
	timestampOrigin = 1 << 1 // set by the host
	thresholdUnder  = 1 << 20
)

// features are the settings of one controller.
type features struct {
	mu           sync.Mutex
	values       map[uint32]uint32 // by identifier; those that are simple values
	over, under  uint16            // temperature thresholds
	behavior     [hostBehaviorLen]byte
	clock        int64 // what a host added to the clock, ms
	clockSet     bool
	hostID       [hostIDLen]byte
	hostIDIsSet  bool
	keepAliveMSs uint32
}

// simple are the features that are a value without a consequence here, with their
// defaults and the bits that a host may set.
var simple = map[uint32]struct{ initial, mask uint32 }{
	featArbitration:    {7, 0xFFFFFF07},
	featPower:          {0, 0xE0},
	featErrorRecovery:  {0, 0xFFFF},
	featCoalescing:     {0, 0xFFFF},
	featVector:         {0, 0x1FFFF},
	featAtomicity:      {0, 1},
	featProgressMarker: {0, 0xFF},
}

// reset gives all features their defaults.
func (f *features) reset(o *ControllerOptions) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values = map[uint32]uint32{}
	f.over, f.under = warningKelvin, 0
	f.behavior = [hostBehaviorLen]byte{}
	f.hostID, f.hostIDIsSet = o.HostID, o.Fabrics
	f.keepAliveMSs = uint32(o.KeepAlive / time.Millisecond)
}

// featureData is the length of the data of Get Features and Set Features.
func featureData(cmd *Command, get bool) int {
	if get && cmd.DW(10)>>8&7 == selectCapable {
		return 0
	}
	switch cmd.DW(10) & 0xFF {
	case featTimestamp:
		return timestampLen
	case featHostBehavior:
		return hostBehaviorLen
	case featHostID:
		if cmd.DW(11)&hostIDExtended != 0 {
			return hostIDLen
		}
		return hostIDShortLen
	}
	return 0
}

// known reports whether there is such a feature, and its capabilities.
func known(fid uint32) (capabilities uint64, ok bool) {
	switch fid {
	case featQueues:
		return 0, true // changed by Set Features only before there are queues
	case featErrorRecovery:
		return capChangeable | capNamespace, true
	case featCommandSets, featHostID, featTemperature, featWriteCache,
		featAsyncEvents, featTimestamp, featKeepAlive, featHostBehavior:
		return capChangeable, true
	}
	_, ok = simple[fid]
	return capChangeable, ok
}

// checkFeatureNamespace refuses a namespace that does not go with the feature.
func (c *Controller) checkFeatureNamespace(fid uint32, id layout.NSID, get bool) Status {
	switch {
	case fid != featErrorRecovery && !get && id != 0 && id != allNamespaces:
		return NotNamespaceSpecific.fatal()
	case fid != featErrorRecovery:
		return Success
	case id == allNamespaces && !get:
		return Success
	case id == 0 || id > c.d.maxNSID():
		return InvalidNamespace.fatal()
	case c.d.namespace(id) == nil:
		return InvalidField.fatal()
	}
	return Success
}

// getFeature is Get Features. Nothing can be saved, so what is saved is the default.
func (c *Controller) getFeature(cmd *Command, data []byte) Completion {
	fid, sel := cmd.DW(10)&0xFF, cmd.DW(10)>>8&7
	capabilities, ok := known(fid)
	if !ok || sel > selectCapable {
		return Completion{Status: InvalidField.fatal()}
	}
	if st := c.checkFeatureNamespace(fid, cmd.NSID(), true); !st.OK() {
		return Completion{Status: st}
	}
	if sel == selectCapable {
		return Completion{Result: capabilities}
	}
	f := &c.features
	if sel == selectDefault || sel == selectSaved {
		f = &features{}
		f.reset(&c.o)
	}
	clear(data)
	f.mu.Lock()
	defer f.mu.Unlock()
	var v uint32
	switch fid {
	case featTemperature:
		v = uint32(f.over)
		if cmd.DW(11)&thresholdUnder != 0 {
			v = uint32(f.under)
		}
		if sensor := cmd.DW(11) >> 16 & 0xF; sensor != 0 { // there is the composite one only
			return Completion{Status: InvalidField.fatal()}
		}
	case featWriteCache:
		if c.d.o.NoWriteCache {
			return Completion{Status: InvalidField.fatal()}
		}
		v = 1
		if sel == 0 && !c.d.cached.Load() {
			v = 0
		}
	case featQueues:
		v = uint32(c.o.IOQueues-1) | uint32(c.o.IOQueues-1)<<16
	case featAsyncEvents:
		if sel == 0 {
			v = c.events.configuration()
		}
	case featTimestamp:
		f.timestamp(data)
	case featKeepAlive:
		v = f.keepAliveMSs
	case featHostBehavior:
		copy(data, f.behavior[:])
	case featHostID:
		copy(data, f.hostID[:])
	case featVector:
		v = f.values[featVector|cmd.DW(11)<<8&0xFFFF00] | cmd.DW(11)&0xFFFF
	case featCommandSets: // the only profile there is
	default:
		var set bool
		if v, set = f.values[fid]; !set {
			v = simple[fid].initial
		}
	}
	return Completion{Result: uint64(v)}
}

// timestamp is the clock as the Timestamp feature shows it: milliseconds, then where it
// comes from.
func (f *features) timestamp(b []byte) {
	ms := time.Now().UnixMilli() + f.clock
	v := uint64(ms) & (1<<48 - 1)
	if f.clockSet {
		v |= timestampOrigin << 48
	}
	binary.LittleEndian.PutUint64(b, v)
}

// setFeature is Set Features.
func (c *Controller) setFeature(cmd *Command, data []byte) Completion {
	fid, v := cmd.DW(10)&0xFF, cmd.DW(11)
	capabilities, ok := known(fid)
	switch {
	case !ok:
		return Completion{Status: InvalidField.fatal()}
	case cmd.DW(10)&featureSave != 0:
		return Completion{Status: NotSaveable.fatal()}
	case capabilities&capChangeable == 0 && fid != featQueues:
		return Completion{Status: NotChangeable.fatal()}
	}
	if st := c.checkFeatureNamespace(fid, cmd.NSID(), false); !st.OK() {
		return Completion{Status: st}
	}
	switch fid {
	case featWriteCache:
		return Completion{Status: c.d.setWriteCache(v&1 != 0)}
	case featQueues:
		if v&0xFFFF == 0xFFFF || v>>16 == 0xFFFF {
			return Completion{Status: InvalidField.fatal()}
		}
		return Completion{Result: uint64(c.o.IOQueues-1) | uint64(c.o.IOQueues-1)<<16}
	case featAsyncEvents:
		c.events.configure(v)
		return Completion{}
	}
	return Completion{Status: c.features.set(fid, v, uint32(c.o.IOQueues), data)}
}

// set sets a feature that is of the controller alone; there are interrupt vectors up to
// most.
func (f *features) set(fid, v, most uint32, data []byte) Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch fid {
	case featTemperature:
		switch {
		case v>>16&0xF != 0 && v>>16&0xF != 0xF || v>>20&3 > 1:
			return InvalidField.fatal()
		case v&thresholdUnder != 0:
			f.under = uint16(v)
		default:
			f.over = uint16(v)
		}
	case featTimestamp:
		ms := int64(binary.LittleEndian.Uint64(data) & (1<<48 - 1))
		f.clock, f.clockSet = ms-time.Now().UnixMilli(), true
	case featKeepAlive:
		f.keepAliveMSs = v
	case featHostBehavior:
		copy(f.behavior[:], data)
	case featHostID:
		if f.hostIDIsSet {
			return SequenceError.fatal()
		}
		f.hostID, f.hostIDIsSet = [hostIDLen]byte{}, true
		copy(f.hostID[:], data)
	case featCommandSets:
		if v&0x1FF != 0 {
			return CommandSetRejected.fatal()
		}
	case featVector:
		if v&0xFFFF > most {
			return InvalidField.fatal()
		}
		f.values[featVector|v<<8&0xFFFF00] = v & (1 << 16)
	case featPower:
		if v&0x1F != 0 { // there is power state 0 only
			return InvalidField.fatal()
		}
		f.values[fid] = v & simple[fid].mask
	default:
		if v&^simple[fid].mask != 0 && fid == featErrorRecovery { // DULBE
			return InvalidField.fatal()
		}
		f.values[fid] = v & simple[fid].mask
	}
	return Success
}

// KeepAlive is the host's keep-alive timeout: of ControllerOptions, or as it was set since.
func (c *Controller) KeepAlive() time.Duration {
	c.features.mu.Lock()
	defer c.features.mu.Unlock()
	return time.Duration(c.features.keepAliveMSs) * time.Millisecond
}

// setWriteCache switches the volatile write cache on or off. What is in it is flushed
// before it is off.
func (d *Drive) setWriteCache(on bool) Status {
	if d.o.NoWriteCache {
		return InvalidField.fatal()
	}
	if on {
		d.cached.Store(true)
		return Success
	}
	d.cached.Store(false)
	return d.flush()
}

// resetWriteCache gives the write cache its default after the reset of a controller that has
// the drive for itself.
func (d *Drive) resetWriteCache() {
	d.mu.Lock()
	alone := len(d.controllers) == 1
	d.mu.Unlock()
	if alone {
		d.cached.Store(!d.o.NoWriteCache)
	}
}
