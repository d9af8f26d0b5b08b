package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// stock is the images on QEMU's own NVMe controller, which keeps zones in its memory and starts with all of them
// Empty.
//
//	drive the controllers into the saved state, over placeholders that swallow writes   restore.go
//	mark the images as in use                                                           mark.go
//	put the images under the nodes, reset the machine
//	... the guest runs ...
//	reset the machine, read the zones                                                   capture.go
//	commit them
type stock struct {
	*session
	images []*stockImage
	traced bool // there is to be a journal
	trace  *tracelog
	run    [16]byte // what the images call this run
	began  bool     // they are marked as in use
}

// stockImage is one image of a run.
type stockImage struct {
	*image.Image
	node       string // begins the names of its block nodes
	id         string // of its controller
	controller []Property
	namespaces []*layout.Namespace // as the guest sees them
	first      int                 // number of its first data file among those of all images
}

func newStock(s *session) (*stock, error) {
	d := &stock{session: s, traced: s.Overlay == ""}
	if err := checkProperties(s.Controllers, len(s.Images)); err != nil {
		return nil, err
	}
	serials := map[string]string{}
	first := 0
	for k, im := range s.Images {
		node := fmt.Sprintf("zimg%d", k)
		more := PropertiesOf(s.Controllers, k)
		i := &stockImage{Image: im, node: node, controller: controller(im.Header().UUID, node, s.placed(more)), first: first}
		for _, n := range im.Namespaces() {
			i.namespaces = append(i.namespaces, n.Namespace)
		}
		s.distinguish(i, k, serials)
		i.id = get(i.controller, "id")
		d.images = append(d.images, i)
		first += len(im.Plan().DataLen)
	}
	return d, nil
}

// distinguish gives copies of an image, which have the same identity, another one in this run: a guest would
// refuse all of them but the first. serials has the images that have a serial number.
func (s *session) distinguish(i *stockImage, k int, serials map[string]string) {
	serial := get(i.controller, "serial")
	other, taken := serials[serial]
	if !taken {
		serials[serial] = i.Path()
		return
	}
	renamed := OtherSerial(serial, k)
	s.Log("%s has the UUID of %s: its serial number in this run is %s", i.Path(), other, renamed)
	serials[renamed] = i.Path()
	i.controller = set(i.controller, "serial", renamed)
	for j, n := range i.namespaces {
		i.namespaces[j] = n.Distinguished(uint8(k))
	}
}

func (d *stock) attached() bool { return d.began }

func (d *stock) fileSizes() []int64 {
	var sizes []int64
	for _, i := range d.images {
		for _, n := range i.Plan().DataLen {
			sizes = append(sizes, int64(n))
		}
	}
	return sizes
}

// args are placeholder nodes and devices. The images themselves QEMU gets when it runs (attach): no
// descriptor of the caller's is in their way, nor a wrapper that closes what it does not know.
//
// The placeholder has to be a file. A raw node learns when it is opened whether the node below it can unmap, and keeps
// that answer for the whole run: over null-co it would drop the may-unmap flag of every zone reset, and a reset
// would allocate the zone instead of giving its space back.
func (d *stock) args() ([]string, error) {
	var args []string
	for _, i := range d.images {
		sharers := map[uint32]int{}
		for _, n := range i.namespaces {
			sharers[n.DataFile]++
		}
		for f := range i.Plan().DataLen {
			args = append(args, "-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s,discard=unmap",
				placeholderNode(i.node, f), escape(d.private.placeholder(i.first+f))))
		}
		for _, n := range i.namespaces {
			args = append(args, "-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=%s,offset=%d,size=%d,discard=unmap",
				RawNode(i.node, n.ID), placeholderNode(i.node, int(n.DataFile)), n.DataOff, n.DataLen))
		}
		devices := [][]Property{i.controller}
		for _, n := range i.namespaces {
			devices = append(devices, namespace(n, i.id, RawNode(i.node, n.ID), sharers[n.DataFile] > 1))
		}
		for _, props := range devices {
			device, err := typed(props)
			if err != nil {
				return nil, err
			}
			args = append(args, "-device", device)
		}
	}
	if d.traced {
		args = append(args, traceArgs(d.session)...)
	}
	return args, nil
}

func placeholderNode(id string, i int) string { return fmt.Sprintf("%s-placeholder%d", id, i) }

func recordNode(id string) string { return id + "-record" }

// each opens the controller of every image in turn.
func (d *stock) each(work func(c *Controller, im *image.Image) error) error {
	m, err := d.machine()
	if err != nil {
		return err
	}
	for _, i := range d.images {
		if !hasZones(i.Image) {
			continue
		}
		place, err := findPCI(d.qmp, i.id)
		if err != nil {
			return err
		}
		c, err := OpenController(d.qtest, m, place)
		if err != nil {
			return fmt.Errorf("%s: %w", i.Path(), err)
		}
		if err := work(c, i.Image); err != nil {
			return fmt.Errorf("%s: %w", i.Path(), err)
		}
		if err := c.close(); err != nil {
			return err
		}
	}
	return nil
}

func hasZones(im *image.Image) bool {
	return slices.ContainsFunc(im.Namespaces(), func(n *image.Namespace) bool { return n.Zoned() })
}

// attach restores the zones, marks the images and puts them under the nodes.
//
// The caller may have a monitor of its own and say cont at any moment. A guest that is started too early cannot do
// any harm: what it writes goes to the placeholders. It is stopped, the work begins anew, and the guest is
// started when that is done.
func (d *stock) attach(ctx context.Context) error {
	if err := d.addFiles(); err != nil {
		return d.unmark(err)
	}
	var resumes uint64
	for try := 0; ; try++ {
		resumes = d.qmp.resumes.Load()
		err := d.undisturbed(func() error { return d.restore(ctx, try > 0) })
		if errors.Is(err, errRunning) && try < attempts {
			d.caller.paused = false
			if d.began {
				if err := d.suspend(); err != nil {
					return d.unmark(err)
				}
			}
			if err := d.restart(); err != nil {
				return d.unmark(err)
			}
			continue
		}
		if err != nil {
			return d.unmark(err)
		}
		break
	}
	if err := d.reopen(); err != nil {
		return err
	}
	if err := d.restart(); err != nil {
		return err
	}
	if d.qmp.resumes.Load() != resumes { // started since the last look, and stopped by restart
		d.caller.paused = false
	}
	return nil
}

// restore brings the zones into the controllers, the second time from zones in any state, and marks the images.
func (d *stock) restore(ctx context.Context, again bool) error {
	if err := d.meet(); err != nil {
		return err
	}
	if err := d.each(func(c *Controller, im *image.Image) error { return c.Restore(im, again) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.begin()
}

// discard cleans up after a QEMU that has not come as far as attach.
func (d *stock) discard() error {
	if d.began {
		return d.closeTrace()
	}
	return d.removeJournal()
}

// prepare makes the file that QEMU logs to. If the image's folder cannot be written to there is none: then a run
// still works.
func (d *stock) prepare() error {
	if !d.traced {
		return nil
	}
	var err error
	if d.trace, err = newTracelog(d.session); err != nil {
		d.withoutJournal(err)
	}
	return nil
}

func (d *stock) withoutJournal(err error) {
	d.traced, d.trace = false, nil
	d.Log("no journal for this run: %v; if QEMU is killed, zones are recovered from the data alone", err)
}

// capture saves the zones of im in memory.
func (d *stock) capture(c *Controller, im *image.Image) error {
	err := c.Capture(im)
	if len(c.reset) > 0 {
		d.Log("%s: the guest has reset Read Only zones that it saw as Full; they remain Read Only, but their data is lost: %s", im.Path(), strings.Join(c.reset, ", "))
	}
	return err
}

// save reads the zones of every image and commits them. Data is synced first: a write pointer must not be ahead
// of what it speaks of.
func (d *stock) save(again bool) error {
	// Until it is stopped the machine may still be writing.
	if err := d.restart(); err != nil {
		return err
	}
	if again { // its caller may have been quicker than this stop
		started, err := d.qmp.disturbed(d.resumes)
		if err != nil {
			return err
		}
		if started {
			return errRunning
		}
	}
	err := d.undisturbed(func() error {
		if err := d.each(d.capture); err != nil || !again {
			return err
		}
		return d.reset() // the guest, if it is started, is to find the machine after a reset
	})
	if err != nil {
		return err
	}
	for _, im := range d.Images {
		if err := im.SyncData(); err != nil {
			return err
		}
		if err := im.EndSession(); err != nil {
			return err
		}
	}
	if again {
		return d.mark()
	}
	return d.removeJournal()
}

// release ends the sessions that save with again has begun.
func (d *stock) release() error {
	if !d.caller.stays {
		return nil
	}
	for _, im := range d.Images {
		if err := im.EndSession(); err != nil {
			return err
		}
	}
	return d.removeJournal()
}
