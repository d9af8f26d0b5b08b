package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/serve"
	"zimg/fsck"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/control"
	"zimg/image/drive/record"
	"zimg/image/drive/tcp"
)

type serveOptions struct {
	listen     string
	discovery  bool
	advertise  string
	nqn        string
	hostNQNs   []string
	key        string
	ctrlKey    string
	insecure   bool
	once       bool
	readyFD    int
	maxHosts   int
	queues     int
	mdts       uint8
	keepAlive  bool
	noCache    bool
	ephemeral  bool
	sidecar    string
	quiet      bool
	sockets    []string
	faults     []string
	faultSpecs []faultSpec // parsed
	record     string
	powerCut   string
	cut        *record.Trigger // parsed; nil for none
	discoverAt string          // address of the discovery service of its own
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve [flags] IMAGE...",
		Short: "serve images as NVMe drives over NVMe/TCP or vfio-user",
		Long: `Serve makes images available as NVMe drives over NVMe/TCP: to this machine, to virtual
machines of any architecture, to SPDK. Each image is a subsystem with all its namespaces. The
command to connect is printed to standard output.

Every command that a host has seen complete is in the image. If zimg is killed, the next zimg
serve continues with every zone and all data as hosts have seen them. What was flushed
survives a power failure. If a host repeats a write because the connection broke before the
answer arrived, the write succeeds again, so file systems survive reconnects.

By default, only this machine can connect, including all of its users. To listen on another
address, give a key with --dhchap-key (see nvme gen-dhchap-key), which hosts must have, or
--insecure. Data is not encrypted.

--vfio-user SOCKET instead serves a virtual machine on this computer: QEMU 10.1 and later, or
Cloud Hypervisor, gets a PCI NVMe controller. Each image needs a socket of its own, and only
its owner can connect to it. Give the machine shared memory (-object
memory-backend-memfd,share=on): otherwise all data goes through the socket, which is slow.
zimg run does all of this by itself.

While an image is served, info, report, map and dump show its current zones; zone, snapshot -c
and fault act on the live drive. Only the user that serves the image can use them.

--ephemeral keeps what hosts write in a temporary file and discards it at the end; the images
do not change. Any number of services and runs can use the same images like this at the same
time. The temporary file is in TMPDIR, or in /var/tmp if that is not set. The commands above
do not act on such a drive.

A key file holds one key for all hosts, or lines with a host NQN and its key.

SIGTERM or SIGINT ends the service: commands in progress complete, and the zones are saved as
at a power-down. A second signal ends the process at once; no completed command is lost.

Exit status: 0 after an orderly end, 1 after a failure, 64 for wrong usage.`,
		Example: `  zimg serve disk.zimg
  zimg serve --vfio-user disk.sock disk.zimg
  zimg serve --listen 127.0.0.1:0 --once --ready-fd 3 disk.zimg 3>ready
  zimg serve --listen 0.0.0.0:4420 --dhchap-key keys a.zimg b.zimg`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.UsageError("serve needs an IMAGE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:4420", "listen on `ADDRESS:PORT`; port 0 chooses a free port")
	f.BoolVar(&o.discovery, "discovery", false, "also answer discovery on port 8009, the default of nvme discover")
	f.StringVar(&o.advertise, "advertise", "", "report `ADDRESS` in discovery, if hosts reach this machine by another address")
	f.StringVar(&o.nqn, "nqn", "", "set the `NQN` of the subsystem (default: derived from the UUID of the image)")
	f.StringArrayVar(&o.hostNQNs, "host-nqn", nil, "serve only the host with this `NQN`; may be repeated")
	f.StringVar(&o.key, "dhchap-key", "", "require hosts to authenticate with the key in `FILE`")
	f.StringVar(&o.ctrlKey, "dhchap-ctrl-key", "", "authenticate to hosts with the key in `FILE`")
	f.BoolVar(&o.insecure, "insecure", false, "allow other machines to connect without a key")
	f.BoolVar(&o.once, "once", false, "exit when the last host has disconnected")
	f.IntVar(&o.readyFD, "ready-fd", -1, "when hosts can connect, write the address to file descriptor `N` and close it")
	f.IntVar(&o.maxHosts, "max-hosts", 64, "serve at most `N` hosts at the same time")
	f.IntVar(&o.queues, "queues", 16, "allow each host at most `N` I/O queues")
	f.Uint8Var(&o.mdts, "mdts", 7, "limit the data of a command to 2^`N` * 4 KiB")
	f.BoolVar(&o.keepAlive, "enforce-keep-alive", false, "disconnect a host that sends nothing for its keep-alive time, such as a paused guest")
	f.BoolVar(&o.noCache, "no-write-cache", false, "make every write durable before completing it")
	f.BoolVar(&o.ephemeral, "ephemeral", false, "throw away all that hosts write; the images stay as they are")
	f.StringArrayVar(&o.sockets, "vfio-user", nil, "serve a virtual machine over the socket `SOCKET`; repeat it for each image, in order")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image; with a single image only")
	f.StringArrayVar(&o.faults, "fault", nil, "fail on purpose: `SPEC` has the flags of zimg fault add, as in zone=3,op=read,status=unrecovered-read; may be repeated")
	f.StringVar(&o.record, "record", "", "save a copy of the image and a log of every write and flush in the new directory `DIR` (see zimg crash)")
	f.StringVar(&o.powerCut, "power-cut", "", "cut the power: `POINT[,FATE][,seed=N]`, with write:N, flush:N, or request for zimg power-cut; then keep, drop (default) or torn, for unflushed writes")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print commands to connect or messages")
	return c
}

func (o *serveOptions) run(cmd *cobra.Command, paths []string) (err error) {
	hosts, err := o.check(len(paths))
	if err != nil {
		return err
	}
	log := func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(cmd.ErrOrStderr(), "zimg: %s\n", cli.OneLine(fmt.Sprintf(format, args...)))
		}
	}
	fsys := files(cmd)
	if o.ephemeral {
		over, remove, err := disk.TempOverlay(fsys)
		if err != nil {
			return err
		}
		defer func() { _ = remove() }()
		fsys = over
	}
	var disks []*serve.Disk
	defer func() {
		for _, d := range disks {
			err = errors.Join(err, d.Close())
			if text := d.PowerCut(); text != "" {
				log("%s: %s", d.Path, text)
			}
		}
		for _, path := range paths[:len(disks)] {
			if err == nil && !o.ephemeral {
				_, err = fsck.DropStaleUndo(path, fsck.Options{FS: files(cmd), Sidecar: o.sidecar})
			}
		}
	}()
	for _, path := range paths {
		d, err := serve.OpenDisk(cmd.Context(), serve.Image{Path: path, FS: fsys, Sidecar: o.sidecar, Stamp: stamp(), Private: o.ephemeral, Record: o.record, PowerCut: o.cut, Drive: drive.Options{
			NQN: o.nqn, MDTS: o.mdts, IOQueues: uint16(o.queues), NoWriteCache: o.noCache, Panicked: cli.Panicked(cmd.ErrOrStderr()),
		}}, log)
		if err != nil {
			return err
		}
		disks = append(disks, d)
		if err := o.addFaults(d); err != nil {
			return err
		}
	}
	if len(o.sockets) > 0 {
		return o.serveSockets(cmd, disks, log)
	}
	options := serve.TCP{Listen: []string{o.listen}, Once: o.once, Options: tcp.Options{
		Hosts: hosts, MaxHosts: o.maxHosts, IOQueues: o.queues, Advertise: o.advertise, EnforceKeepAlive: o.keepAlive, Log: log, Panicked: cli.Panicked(cmd.ErrOrStderr()),
	}}
	if o.discoverAt != "" {
		options.Listen = append(options.Listen, o.discoverAt)
	}
	target, err := serve.Listen(disks, options)
	if err != nil {
		return err
	}
	address := target.Listeners[0].Addr()
	if !o.quiet {
		o.explain(cmd, disks, address)
	}
	if err := serve.Ready(o.readyFD, address.String()); err != nil {
		return errors.Join(err, target.Server.Close())
	}
	err = target.Serve(cmd.Context())
	serve.Stopping()
	return err
}

// addFaults gives a drive the faults that were asked for.
func (o *serveOptions) addFaults(d *serve.Disk) error {
	for i := range o.faultSpecs {
		f, err := o.faultSpecs[i].resolve(d.Store.Image())
		if err == nil {
			_, err = control.AddFault(d.Drive, f)
		}
		if err != nil {
			return fmt.Errorf("%s: --fault %s: %w", d.Path, o.faults[i], err)
		}
	}
	return nil
}

// serveSockets serves virtual machines.
func (o *serveOptions) serveSockets(cmd *cobra.Command, disks []*serve.Disk, log func(string, ...any)) error {
	sockets, err := serve.ListenVFIOUser(disks, o.sockets, o.once, log)
	if err != nil {
		return err
	}
	for i, d := range disks {
		if !o.quiet {
			fmt.Fprintf(cmd.OutOrStdout(), "# %s\n%s\n", cli.OneLine(d.Path), serve.DeviceArguments(o.sockets[i]))
		}
	}
	if err := serve.Ready(o.readyFD, strings.Join(o.sockets, "\n")); err != nil {
		return err
	}
	err = sockets.Serve(cmd.Context())
	serve.Stopping()
	return err
}

// checkOne refuses flags that are for one image where there are several.
func (o *serveOptions) checkOne(images int) error {
	if images == 1 {
		return nil
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"nqn", o.nqn != ""},
		{"sidecar", o.sidecar != ""},
		{"record", o.record != ""},
		{"power-cut", o.powerCut != ""},
		{"fault", len(o.faults) > 0},
	} {
		if f.given {
			return cli.UsageError("--%s can only be used with one image, not %d", f.name, images)
		}
	}
	return nil
}

// check refuses what does not go together, and reads the keys.
func (o *serveOptions) check(images int) ([]tcp.Host, error) {
	if err := o.checkOne(images); err != nil {
		return nil, err
	}
	switch {
	case len(o.sockets) > 0 && len(o.sockets) != images:
		return nil, cli.UsageError("%s for %s: each image needs a --vfio-user of its own", cli.Count(len(o.sockets), "socket", "sockets"), cli.Count(images, "image", "images"))
	case o.ephemeral && o.record != "":
		return nil, cli.UsageError("--record cannot be used with --ephemeral")
	case o.ephemeral && o.powerCut != "":
		return nil, cli.UsageError("--power-cut cannot be used with --ephemeral")
	case o.ctrlKey != "" && o.key == "":
		return nil, cli.UsageError("--dhchap-ctrl-key needs --dhchap-key")
	case o.queues < 1 || o.queues > 1024:
		return nil, cli.UsageError("invalid value %d for --queues: must be from 1 to 1024", o.queues)
	case o.maxHosts < 1:
		return nil, cli.UsageError("invalid value %d for --max-hosts: must be 1 or more", o.maxHosts)
	case o.mdts == 0:
		return nil, cli.UsageError("invalid value 0 for --mdts: must be 1 or more")
	}
	if o.powerCut != "" {
		var err error
		if o.cut, err = parsePowerCut(o.powerCut); err != nil {
			return nil, err
		}
	}
	for _, text := range o.faults {
		f, err := parseFault(text)
		if err != nil {
			return nil, err
		}
		o.faultSpecs = append(o.faultSpecs, f)
	}
	for _, nqn := range append([]string{o.nqn}, o.hostNQNs...) {
		if err := tcp.CheckNQN(nqn); nqn != "" && err != nil {
			return nil, cli.UsageError("NQN %q: %v", nqn, err)
		}
	}
	if err := o.checkListen(); err != nil {
		return nil, err
	}
	return serve.Hosts(o.hostNQNs, o.key, o.ctrlKey)
}

// checkListen refuses an address that everybody could connect to, and sets that of the discovery service.
func (o *serveOptions) checkListen() error {
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return cli.UsageError("--listen: %q is not an address and a port, as in 127.0.0.1:4420", o.listen)
	}
	if o.key == "" && !o.insecure && !onlyThisMachine(host) {
		e := cli.UsageError("--listen %s would let everyone on the network use the image", o.listen)
		e.Hint = "give a key with --dhchap-key FILE (nvme gen-dhchap-key prints one), or --insecure"
		return e
	}
	if o.discovery && port != discoveryPort {
		o.discoverAt = net.JoinHostPort(host, discoveryPort)
	}
	return nil
}

// discoveryPort is where discovery services listen.
const discoveryPort = "8009"

// onlyThisMachine reports whether nobody else can connect to an address.
func onlyThisMachine(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// explain prints how to connect.
func (o *serveOptions) explain(cmd *cobra.Command, disks []*serve.Disk, at net.Addr) {
	tcpAddr, ok := at.(*net.TCPAddr)
	if !ok {
		return
	}
	more := ""
	if len(o.hostNQNs) > 0 {
		more += " -q " + o.hostNQNs[0]
	}
	if o.key != "" {
		more += ` -S "$(cat ` + cli.ShellWord(o.key) + `)"`
	}
	if o.ctrlKey != "" {
		more += ` -C "$(cat ` + cli.ShellWord(o.ctrlKey) + `)"`
	}
	w := cmd.OutOrStdout()
	for _, d := range disks {
		address := tcpAddr.IP.String()
		if tcpAddr.IP.IsUnspecified() {
			if address = "ADDRESS"; o.advertise != "" {
				address = o.advertise
			} else if name, err := os.Hostname(); err == nil {
				address = name
			}
		}
		fmt.Fprintf(w, "# %s\n%s\n", cli.OneLine(d.Path), serve.ConnectLine(d, address, tcpAddr.Port, more))
		if tcpAddr.IP.IsLoopback() && !strings.Contains(address, ":") {
			fmt.Fprintf(w, "# the same in a guest of QEMU with user networking\n%s\n", serve.ConnectLine(d, "10.0.2.2", tcpAddr.Port, more))
		}
	}
}
