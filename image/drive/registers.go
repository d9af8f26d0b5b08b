package drive

import "sync"

// Offsets of the registers that the controller keeps (NVMe Base 2.0, section 3.1.3).
const (
	regCAP  = 0x00
	regVS   = 0x08
	regCC   = 0x14
	regCSTS = 0x1C
)

// CAP: queues of up to MQES+1 entries that are contiguous (CQR), a time limit of TO times
// 500 ms, the NVM command set and I/O command sets (CSS bits 0 and 6), pages of 4096 bytes
// up to 4096 << MPSMAX.
const (
	capCQR     = 1 << 16
	capTO      = 30 << 24
	capCSS     = 0x41 << 37
	capMPSMAX  = 4 << 52
	queueMax   = 1023 // MQES of a PCI function
	fabricsMax = 127  // MQES over fabrics
)

// Versions: 2.0 over fabrics, 1.4 as a PCI function.
const (
	version20 = 0x00020000
	version14 = 0x00010400
)

// CC and CSTS.
const (
	ccEnable     = 1 << 0
	ccCSSShift   = 4
	ccMPSShift   = 7
	ccAMSShift   = 11
	ccSHNShift   = 14
	cssNVM       = 0 // the NVM command set alone
	cssAll       = 6 // all I/O command sets
	cstsReady    = 1 << 0
	cstsFatal    = 1 << 1
	cstsShutting = 1 << 2
	cstsShut     = 2 << 2
)

// registers are the registers that change.
type registers struct {
	mu      sync.Mutex
	cc      uint32
	csts    uint32
	working bool          // a goroutine carries out a reset or a shutdown
	settled chan struct{} // closed when it has; nil while nothing is under way
}

func (c *Controller) capabilities() uint64 {
	v := uint64(capCQR | capTO | capCSS)
	if c.o.Fabrics {
		return v | fabricsMax
	}
	return v | capMPSMAX | queueMax
}

func (c *Controller) version() uint32 {
	if c.o.Fabrics {
		return version20
	}
	return version14
}

// ReadRegister reads the register at off, size bytes of it (4 or 8): CAP, VS, CC and CSTS.
// For all others, which are the transport's, it answers Invalid Field.
func (c *Controller) ReadRegister(off uint32, size int) (uint64, Status) {
	c.regs.mu.Lock()
	cc, csts := c.regs.cc, c.regs.csts
	c.regs.mu.Unlock()
	switch {
	case off == regCAP && size == 8:
		return c.capabilities(), Success
	case off == regCAP && size == 4:
		return c.capabilities() & 0xFFFFFFFF, Success
	case off == regCAP+4 && size == 4:
		return c.capabilities() >> 32, Success
	case off == regVS && size == 4:
		return uint64(c.version()), Success
	case off == regCC && size == 4:
		return uint64(cc), Success
	case off == regCSTS && size == 4:
		return uint64(csts), Success
	}
	return 0, InvalidField.fatal()
}

// WriteRegister writes CC, the only register of the controller that can be written. It
// does not wait: CSTS shows when a reset (RDY falls) or a shutdown (SHST) is complete. A
// shutdown makes everything durable; when no other controller is at work the zones come
// to rest with it (ZNS 1.1, section 2.1.1.3: after all controllers have been shut down). A
// reset changes no zone.
func (c *Controller) WriteRegister(off uint32, size int, v uint64) Status {
	if off != regCC || size != 4 {
		return InvalidField.fatal()
	}
	r := &c.regs
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.cc
	r.cc = uint32(v)
	switch {
	case old&ccEnable == 0 && r.cc&ccEnable != 0 && !r.working:
		c.enable()
	case old&ccEnable != 0 && r.cc&ccEnable == 0:
		c.begin(c.reset)
		return Success
	}
	shutdown := r.cc >> ccSHNShift & 3
	if shutdown != 0 && shutdown != old>>ccSHNShift&3 && r.csts&(cstsShutting|cstsShut) == 0 {
		r.csts |= cstsShutting
		c.begin(c.shutdown)
	}
	return Success
}

// enable makes the controller ready, or shows a fatal status where CC asks for what it
// cannot do. regs.mu is held.
func (c *Controller) enable() {
	r := &c.regs
	mps, most := r.cc>>ccMPSShift&15, uint32(capMPSMAX>>52)
	if c.o.Fabrics {
		most = 0
	}
	css := r.cc >> ccCSSShift & 7
	if mps > most || r.cc>>ccAMSShift&7 != 0 || css != cssNVM && css != cssAll {
		r.csts |= cstsFatal
		return
	}
	r.csts = cstsReady
	c.css.Store(css)
	c.used.Store(true)
	c.ready.Store(true)
}

// begin runs fn, a reset or a shutdown, in its own goroutine, after what is already under
// way. regs.mu is held.
func (c *Controller) begin(fn func()) {
	r := &c.regs
	before := r.settled
	done := make(chan struct{})
	r.settled, r.working = done, true
	c.d.Go(func() {
		if before != nil {
			<-before
		}
		fn()
		r.mu.Lock()
		if r.settled == done {
			r.working, r.settled = false, nil
			if r.cc&ccEnable != 0 && r.csts&cstsReady == 0 {
				c.enable() // CC was written again meanwhile
			}
		}
		r.mu.Unlock()
		close(done)
	})
}

// settle waits for what WriteRegister began.
func (c *Controller) settle() {
	c.regs.mu.Lock()
	wait := c.regs.settled
	c.regs.mu.Unlock()
	if wait != nil {
		<-wait
	}
}
