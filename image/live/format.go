package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// Suffix is added to the name of the metadata file to find the live file.
const Suffix = ".zlive"

// The live file:
//
//	 0                 4096              8192                    aligned to 4096
//	+-----------------+-----------------+-----------------------+-----------------------+
//	| header          | state           | records, 192 per zone | extensions, 2 per zone|
//	+-----------------+-----------------+-----------------------+-----------------------+
//
// The header is written once. Records and extensions are in the order of the namespace table; a namespace without
// zones or extensions has none.
//
//	 0          8         12        16          32           48          64          80        88       96        4092
//	+----------+---------+---------+-----------+------------+-----------+-----------+---------+--------+---------+-----+
//	| magic    | version | record  | image     | session    | boot      | identity  | zones   | file   | reserved| CRC |
//	|          |         | length  | UUID      | id         | id        | of file   |         | length |         |     |
//	+----------+---------+---------+-----------+------------+-----------+-----------+---------+--------+---------+-----+
const (
	fileMagic   = "\x89ZIMV\r\n\x1a"
	fileVersion = 1
	headerLen   = 4096
	headerCRC   = headerLen - 4
	stateOff    = headerLen
	recordsOff  = 2 * headerLen

	// Words of the state block.
	stateLost  = stateOff     // not 0: a sync failed, and the records are not to be believed
	statePeers = stateOff + 8 // the number of the last association
)

// fileHeader is the first block of a live file.
type fileHeader struct {
	UUID, Session, Boot, Identity [16]byte
	Zones, Length                 uint64
}

func (h *fileHeader) encode() []byte {
	b := make([]byte, headerLen)
	copy(b, fileMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], fileVersion)
	le.PutUint32(b[12:], recordLen)
	copy(b[16:], h.UUID[:])
	copy(b[32:], h.Session[:])
	copy(b[48:], h.Boot[:])
	copy(b[64:], h.Identity[:])
	le.PutUint64(b[80:], h.Zones)
	le.PutUint64(b[88:], h.Length)
	le.PutUint32(b[headerCRC:], layout.Checksum(b[:headerCRC]))
	return b
}

// decodeHeader reads the first headerLen bytes of a live file.
func decodeHeader(b []byte) (*fileHeader, error) {
	fail := func(off int64, field string, got any, err error) (*fileHeader, error) {
		return nil, &layout.FieldError{Region: "live file header", Off: layout.Bytes(off), Field: field, Got: got, Err: err}
	}
	le := binary.LittleEndian
	if string(b[:8]) != fileMagic {
		return fail(0, "magic", fmt.Sprintf("%x", b[:8]), layout.ErrDamaged)
	}
	if got := le.Uint32(b[headerCRC:]); got != layout.Checksum(b[:headerCRC]) {
		return fail(headerCRC, "checksum", got, layout.ErrDamaged)
	}
	if v := le.Uint32(b[8:]); v != fileVersion {
		return fail(8, "version", v, layout.ErrNewer)
	}
	if n := le.Uint32(b[12:]); n != recordLen {
		return fail(12, "record length", n, layout.ErrDamaged)
	}
	return &fileHeader{
		UUID: [16]byte(b[16:32]), Session: [16]byte(b[32:48]), Boot: [16]byte(b[48:64]), Identity: [16]byte(b[64:80]),
		Zones: le.Uint64(b[80:]), Length: le.Uint64(b[88:]),
	}, nil
}

// fileName is the path of the live file of im.
func fileName(im *image.Image) string { return im.Files().MetaName() + Suffix }

// places are the parts of the live file of im, in bytes.
type places struct {
	zones   uint64
	ext     []int64 // of each namespace
	mapped  int64   // header, state and records
	fileLen int64
}

func placesOf(im *image.Image) places {
	var p places
	for _, n := range im.Namespaces() {
		p.zones += n.ZoneCount
	}
	at := recordsOff + int64(p.zones)*recordLen
	at = (at + headerLen - 1) / headerLen * headerLen
	p.mapped = at
	for _, n := range im.Namespaces() {
		p.ext = append(p.ext, at)
		at += 2 * int64(n.ZoneCount) * int64(n.ExtSize())
	}
	p.fileLen = at
	return p
}

// createFile makes the live file of a new session, in place of one that means nothing any more.
func (s *Store) createFile() error {
	fsys := s.im.Files().FS
	if err := fsys.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	access, err := disk.Like(s.im.Files().Meta)
	if err != nil {
		return err
	}
	if s.file, err = disk.CreateLike(fsys, s.path, access); err != nil {
		return err
	}
	p := placesOf(s.im)
	if err := s.file.Truncate(p.fileLen); err != nil {
		return err
	}
	// Without space for the mapping a store in it would end the process.
	if err := s.file.Allocate(0, p.mapped); err != nil && !errors.Is(err, disk.ErrUnsupported) {
		return err
	}
	h := fileHeader{
		UUID: s.im.Header().UUID, Session: s.session.ID, Boot: s.session.BootID,
		Identity: disk.Identity(s.im.Files().Meta), Zones: p.zones, Length: uint64(p.fileLen),
	}
	if _, err := s.file.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	s.m, err = disk.Map(s.file, p.mapped)
	if err != nil {
		return err
	}
	s.place(p)
	return nil
}

func (s *Store) place(p places) {
	for k, n := range s.ns {
		n.extOff = p.ext[k]
	}
}

// Reasons for which the records are known to be worth less than the last commit.
const (
	reasonCopy = "the image is a copy made while it was in use"
	reasonLost = "writing to the disk failed while the image was served"
)

// readFile opens the live file of im if it is that of the session in im's header; otherwise reason says why not.
func readFile(im *image.Image, boot [16]byte, mode disk.Mode) (file disk.File, reason string, err error) {
	h := im.Header()
	fsys := im.Files().FS
	name := fileName(im)
	file, err = disk.OpenBeside(fsys, filepath.Dir(name), filepath.Base(name), mode)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "the live file is missing", nil
	case errors.Is(err, disk.ErrNotOwn):
		return nil, "what has the name of the live file is not a regular file", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil || reason != "" {
			_ = file.Close()
			file = nil
		}
	}()
	size, err := file.Size()
	if err != nil {
		return file, "", err
	}
	p := placesOf(im)
	b := make([]byte, recordsOff)
	if size < p.fileLen {
		return file, "the live file is too short", nil
	}
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return file, "", err
	}
	fh, err := decodeHeader(b[:headerLen])
	if err != nil {
		if errors.Is(err, layout.ErrNewer) {
			return file, "", fmt.Errorf("%s: %w", file.Name(), err)
		}
		return file, "the live file is damaged", nil
	}
	switch {
	case fh.UUID != h.UUID || fh.Session != h.Session.ID:
		reason = "the live file belongs to another session"
	case fh.Boot != boot:
		reason = "the computer was restarted"
	case fh.Identity != disk.Identity(im.Files().Meta):
		reason = reasonCopy
	case fh.Zones != p.zones || fh.Length != uint64(p.fileLen):
		reason = "the live file belongs to other zones"
	case binary.LittleEndian.Uint64(b[stateLost:]) != 0:
		reason = reasonLost
	}
	return file, reason, nil
}
