package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zimg/cmd/internal/cli"
)

// People have their drives as QEMU's -device nvme-ns,... and -device nvme,..., or as the -o of Li's qcow2 patches. What such
// a line says of the namespace goes into the image. What it says of the controller is for zimg run --device, and what wires
// the device to a drive and a bus is left out.

// lineDrivers are the devices whose properties a list may begin with.
var lineDrivers = []string{"nvme-ns", "nvme"}

// wiringProperties of QEMU's nvme-ns and nvme have no meaning in an image. A name that ends in a dot stands for all names that
// begin so.
var wiringProperties = []string{
	"drive", "bus", "id", "addr", "subsys", "shared", "detached", "bootindex", "share-rw", "write-cache", "iothread", "rerror",
	"werror", "min_io_size", "opt_io_size", "discard_granularity", "eui64-default", "backend_defaults", "account-invalid",
	"account-failed", "stats-intervals", "mssrl", "mcl", "msrc", "fdp.", "fdp", "atomic.", "pmrdev",
	"romfile", "rombar", "multifunction", "failover_pair_id", "acpi-index", "zone.max_append_bytes",
}

// controllerProperties are those of QEMU's nvme that zimg run --device takes.
var controllerProperties = []string{
	"serial", "mdts", "zoned.zasl", "zasl", "max_ioqpairs", "num_queues", "msix_qsize", "msix-exclusive-bar", "ioeventfd", "aerl",
	"aer_max_queued", "vsl", "cmb_size_mb", "legacy-cmb", "use-intel-id", "zoned.auto_transition", "mqes", "dbcs", "ocp",
	"ctratt.mem", "sriov_",
}

// liNames are what the create options of Li's qcow2 patches are called here.
var liNames = map[string]string{
	"zone.size": "zone-size", "zone.capacity": "zone-capacity",
	"zone.max_open": "max-open", "zone.max_open_zones": "max-open",
	"zone.max_active": "max-active", "zone.max_active_zones": "max-active",
	"zone.zd_extension_size": "descr-ext-size",
}

// listed reports whether key is in list.
func listed(list []string, key string) bool {
	return slices.ContainsFunc(list, func(name string) bool {
		return key == name || (strings.HasSuffix(name, ".") || strings.HasSuffix(name, "_")) && strings.HasPrefix(key, name)
	})
}

// setLine is one key of a QEMU device line that is not a property of the namespace; known says whether there is such a key.
func (g *geometry) setLine(key, value string) (known bool, err error) {
	if own, ok := liNames[key]; ok {
		return true, g.set(own, value)
	}
	switch {
	case key == "physical_block_size": // that of the drive is its block size
	case key == "zone.mode" && value != "host-managed" && value != "hm":
		return true, fmt.Errorf("zone.mode=%s: a ZNS namespace is host-managed", value)
	case key == "zone.conventional_zones" || key == "zone.conv_zones":
		if n, err := strconv.ParseUint(value, 0, 32); err != nil || n != 0 {
			return true, fmt.Errorf("%s=%s: a ZNS namespace has no conventional zones", key, value)
		}
	case key == "zone.mode":
	case listed(controllerProperties, key):
		g.controller = append(g.controller, key+"="+value)
	case listed(wiringProperties, key):
		g.leftOut = append(g.leftOut, key)
	default:
		return false, nil
	}
	return true, nil
}

// parseLine applies a list that may be the whole argument of -device: a driver's name may come first, a doubled comma is a
// comma, and a key alone means on. As in QEMU, a namespace of such a line has no zones unless the line says so.
func (g *geometry) parseLine(list string) error {
	list = strings.TrimSpace(list)
	list = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(list, "-device "), "--device "))
	driver, rest, _ := strings.Cut(list, ",")
	driver = strings.TrimPrefix(strings.TrimSpace(driver), "driver=")
	if !slices.Contains(lineDrivers, driver) {
		return g.parseList(list)
	}
	if rest != "" {
		if err := g.parseList(rest); err != nil {
			return err
		}
	}
	if driver == "nvme-ns" && g.kind == "" {
		g.kind = "nvm"
		if g.zoneSize != 0 || g.zoneCap != 0 || g.maxOpen != 0 || g.maxAct != 0 || g.ext != 0 || g.zrwas != 0 {
			g.kind = "zoned"
			g.leftOut = append(g.leftOut, "(zoned=on is missing: QEMU would ignore the zones)")
		}
	}
	return nil
}

// noteLines says in one line what the properties of QEMU's devices in gs are for that is not in the image.
func noteLines(gs ...geometry) string {
	var parts []string
	left := collect(gs, func(g geometry) []string { return g.leftOut })
	if len(left) > 0 {
		parts = append(parts, "not kept in an image: "+strings.Join(left, ", "))
	}
	if device := controllerArgument(gs...); device != "" {
		parts = append(parts, "the controller's properties are for zimg run: --device "+cli.ShellWord(device))
	}
	return strings.Join(parts, "; ")
}

// controllerArgument is what zimg run --device needs for the controller that gs describe.
func controllerArgument(gs ...geometry) string {
	return strings.Join(collect(gs, func(g geometry) []string { return g.controller }), ",")
}

// collect is what of gives of each of gs, each item once.
func collect(gs []geometry, of func(geometry) []string) (list []string) {
	for _, g := range gs {
		for _, item := range of(g) {
			if !slices.Contains(list, item) {
				list = append(list, item)
			}
		}
	}
	return list
}

// parseEUI64 reads an EUI-64: a number as QEMU takes it (0x... or up to 15 decimal digits), or 16 hexadecimal digits.
func parseEUI64(value string) string {
	decimal := len(value) < 16 && strings.Trim(value, "0123456789") == ""
	if !decimal && !strings.HasPrefix(strings.ToLower(value), "0x") {
		return value
	}
	n, err := strconv.ParseUint(value, 0, 64)
	if err != nil {
		return value
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, n))
}
