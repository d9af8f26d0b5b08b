package tcp

import (
	"net"
	"strconv"
	"sync"

	"zimg/image/drive"
)

// discovery is the controller of the discovery subsystem: Identify, the discovery log, and
// nothing else (NVMe Base 2.0, sections 3.1.2.3 and 5.16.1.23).
type discovery struct {
	a *association

	mu     sync.Mutex
	cc     uint32
	events []func(drive.Completion) // Asynchronous Event Requests, which are never answered
}

func newDiscovery(a *association) *discovery { return &discovery{a: a} }

// Registers of a discovery controller.
const (
	regCAP  = 0x00
	regVS   = 0x08
	regCC   = 0x14
	regCSTS = 0x1C

	discoveryCAP = 0x1E01001F | 1<<37 // MQES 31, CQR, 15 s, NVM command set
	discoveryVS  = 0x00020000
)

// Opcodes of admin commands.
const (
	opGetLog      = 0x02
	opIdentify    = 0x06
	opSetFeatures = 0x09
	opGetFeatures = 0x0A
	opAsyncEvent  = 0x0C
	opKeepAlive   = 0x18
)

const (
	logDiscovery  = 0x70
	logEntryLen   = 1024 // and that of the header
	maxEvents     = 4
	invalidLog    = 0x109 | drive.DNR
	mostLogBytes  = 1 << 20
	identifyLen   = 4096
	featureEvents = 0x0B
	featureKATO   = 0x0F
)

// ReadRegister is that of drive.Controller.
func (d *discovery) ReadRegister(off uint32, size int) (uint64, drive.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case off == regCAP && size == 8:
		return discoveryCAP, 0
	case off == regVS && size == 4:
		return discoveryVS, 0
	case off == regCC && size == 4:
		return uint64(d.cc), 0
	case off == regCSTS && size == 4:
		v := uint64(d.cc & 1)
		if d.cc>>14&3 != 0 {
			v |= 2 << 2
		}
		return v, 0
	}
	return 0, drive.InvalidField | drive.DNR
}

// WriteRegister is that of drive.Controller.
func (d *discovery) WriteRegister(off uint32, size int, v uint64) drive.Status {
	if off != regCC || size != 4 {
		return drive.InvalidField | drive.DNR
	}
	d.mu.Lock()
	d.cc = uint32(v)
	d.mu.Unlock()
	if v&1 == 0 {
		d.abort()
	}
	return 0
}

func (d *discovery) enabled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cc&1 != 0
}

// Transfer is that of drive.Controller.
func (d *discovery) Transfer(_ uint16, cmd *drive.Command) (dir drive.Direction, data, meta int, st drive.Status) {
	if !d.enabled() {
		return drive.None, 0, 0, drive.SequenceError | drive.DNR
	}
	switch cmd.Opcode() {
	case opIdentify:
		if cns := cmd.DW(10) & 0xFF; cns != 1 {
			return drive.None, 0, 0, drive.InvalidField | drive.DNR
		}
		return drive.FromController, identifyLen, 0, 0
	case opGetLog:
		n := (uint64(cmd.DW(11)&0xFFFF)<<16 | uint64(cmd.DW(10)>>16)) + 1
		switch {
		case cmd.DW(10)&0xFF != logDiscovery:
			return drive.None, 0, 0, invalidLog
		case n*4 > mostLogBytes || cmd.DW(12)&3 != 0:
			return drive.None, 0, 0, drive.InvalidField | drive.DNR
		}
		return drive.FromController, int(n * 4), 0, 0
	case opKeepAlive, opAsyncEvent:
		return drive.None, 0, 0, 0
	case opSetFeatures, opGetFeatures:
		if f := cmd.DW(10) & 0xFF; f != featureEvents && f != featureKATO {
			return drive.None, 0, 0, drive.InvalidField | drive.DNR
		}
		return drive.None, 0, 0, 0
	}
	return drive.None, 0, 0, drive.InvalidOpcode | drive.DNR
}

// Execute is that of drive.Controller.
func (d *discovery) Execute(_ uint16, cmd *drive.Command, data, _ []byte, done func(drive.Completion)) (drive.Completion, bool) {
	switch cmd.Opcode() {
	case opIdentify:
		d.identify(data)
	case opGetLog:
		d.log(data, uint64(cmd.DW(13))<<32|uint64(cmd.DW(12)))
	case opGetFeatures:
		if cmd.DW(10)&0xFF == featureKATO {
			return drive.Completion{Result: uint64(d.a.kato.Milliseconds())}, true
		}
	case opAsyncEvent:
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.events) == maxEvents {
			return drive.Completion{Status: drive.AsyncLimitExceeded | drive.DNR}, true
		}
		d.events = append(d.events, done)
		return drive.Completion{}, false
	}
	return drive.Completion{}, true
}

// abort ends the commands that wait.
func (d *discovery) abort() {
	d.mu.Lock()
	events := d.events
	d.events = nil
	d.mu.Unlock()
	for _, done := range events {
		done(drive.Completion{Status: drive.AbortedSQDeletion})
	}
}

// Abandon is that of drive.Controller.
func (d *discovery) Abandon() { d.abort() }

// Close is that of drive.Controller.
func (d *discovery) Close() { d.abort() }

// identify fills Identify Controller data.
func (d *discovery) identify(b []byte) {
	pad(b[4:24], "discovery")
	pad(b[24:64], "zimg discovery")
	pad(b[64:72], "1")
	b[77] = 8 // MDTS: 1 MiB
	le.PutUint16(b[78:], d.a.cntlid)
	le.PutUint32(b[80:], discoveryVS)
	b[111] = 2 // CNTRLTYPE: discovery
	b[259] = maxEvents - 1
	b[261] = 1 << 2 // LPA: log page offset
	le.PutUint16(b[320:], 10)
	le.PutUint16(b[514:], adminDepth)
	le.PutUint32(b[536:], 1<<20|1) // SGLS: in the capsule by offset
	copy(b[768:1024], DiscoveryNQN)
	le.PutUint32(b[1792:], (64+InCapsule)/16)
	le.PutUint32(b[1796:], 1)
	b[1803] = 1 // MSDBD
}

// log fills b with the discovery log from byte off on.
func (d *discovery) log(b []byte, off uint64) {
	s := d.a.srv
	page := make([]byte, logEntryLen*(1+len(s.subs)))
	le.PutUint64(page, 1) // GENCTR: the subsystems never change
	le.PutUint64(page[8:], uint64(len(s.subs)))
	host, port, v6 := d.address()
	for i := range s.subs {
		e := page[logEntryLen*(i+1):][:logEntryLen]
		e[0] = 3 // TRTYPE: TCP
		e[1] = 1 // ADRFAM: IPv4
		if v6 {
			e[1] = 2
		}
		e[2] = 2                        // SUBTYPE: NVM subsystem
		le.PutUint16(e[4:], 1)          // PORTID
		le.PutUint16(e[6:], 0xFFFF)     // CNTLID: made as hosts come
		le.PutUint16(e[8:], adminDepth) // ASQSZ
		pad(e[32:64], port)             // TRSVCID
		copy(e[256:512], s.subs[i].NQN) // SUBNQN
		pad(e[512:768], host)           // TRADDR
	}
	if off < uint64(len(page)) {
		copy(b, page[off:])
	}
}

// address is where hosts reach the server.
func (d *discovery) address() (host, port string, v6 bool) {
	s := d.a.srv
	if c := d.a.admin(); c != nil {
		host, port, _ = net.SplitHostPort(c.nc.LocalAddr().String())
	}
	if s.o.AdvertisePort != 0 {
		port = strconv.Itoa(s.o.AdvertisePort)
	}
	if s.o.Advertise != "" {
		host = s.o.Advertise
	}
	ip := net.ParseIP(host)
	return host, port, ip != nil && ip.To4() == nil
}

// pad fills b with s and spaces.
func pad(b []byte, s string) {
	for i := copy(b, s); i < len(b); i++ {
		b[i] = ' '
	}
}
