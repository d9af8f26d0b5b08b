package control

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Any bytes from a client: they are refused, or answered with one message, and the limits on zones hold.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		`{"Faults":true}`,
		`{"Zones":{"NSID":1,"First":0,"Last":9,"Action":"finish","All":true}}`,
		`{"Zones":{"NSID":1,"First":3,"Last":3,"Action":"set-wp","Written":7}}`,
		`{"Fault":{"NSID":1,"LBA":3,"Blocks":2,"Ops":["read"],"Status":"busy","Count":1,"Delay":5}}`,
		`{"Clear":{"ID":1}}`,
		`{"Snapshot":{"Name":"../x"}}`,
	} {
		f.Add(append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys := imagetest.NewMemFS()
		spec := imagetest.Standard(layout.Trailing)
		if err := spec.Create(fsys, "/d/disk"); err != nil {
			t.Fatal(err)
		}
		im, err := image.Open("/d/disk", image.Options{FS: fsys, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = im.Close() }()
		st, err := drivetest.NewStore(im)
		if err != nil {
			t.Fatal(err)
		}
		d, err := drive.NewWith(im, st, drive.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{o: Options{Drive: d, Session: session, Log: t.Logf}}
		var q Request
		if err := receive(bytes.NewReader(b), &q); err != nil {
			return
		}
		r := s.do(&q)
		var out bytes.Buffer
		if err := send(&out, r); err != nil {
			t.Fatal(err)
		}
		var back Reply
		if err := receive(&out, &back); err != nil {
			t.Errorf("the answer %+v is not a message: %v", r, err)
		}
		for _, n := range im.Namespaces() {
			if !n.Zoned() {
				continue
			}
			if c := st.Namespace(n.ID).Counts(); n.MaxActive() > 0 && c.Active() > max(n.MaxActive(), n.Counts().Active()) {
				t.Errorf("namespace %d has %d active zones", n.ID, c.Active())
			}
		}
	})
}

// Any bytes from whoever listens at a socket: an error, or an answer of the right session.
func FuzzReply(f *testing.F) {
	var good bytes.Buffer
	for _, v := range []any{Hello{Version: Version, Session: "07000000000000000000000000000000", PID: 1}, Reply{Changed: 3}} {
		if err := send(&good, v); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(good.Bytes())
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := exchange(&script{answer: bytes.NewReader(b)}, session, &Request{Faults: true})
		if err == nil && (r == nil || r.Error != "") {
			t.Errorf("%+v without an error", r)
		}
	})
}

// script is a connection whose other end says answer whatever it is asked.
type script struct {
	net.Conn
	answer *bytes.Reader
}

func (s *script) Read(p []byte) (int, error) { return s.answer.Read(p) }

func (s *script) Write(p []byte) (int, error) { return len(p), nil }

func (s *script) SetDeadline(time.Time) error { return nil }
