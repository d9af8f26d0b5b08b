package qemu

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"zimg/layout"
)

// A Property is one KEY=VALUE of a QEMU device.
type Property struct{ Key, Value string }

// PropertiesOf are the properties of controller k of a run where lists has none, one list for all, or one for each.
func PropertiesOf(lists [][]Property, k int) []Property {
	switch {
	case len(lists) == 1:
		return lists[0]
	case k < len(lists):
		return lists[k]
	}
	return nil
}

// checkProperties refuses lists for another number of controllers.
func checkProperties(lists [][]Property, controllers int) error {
	if n := len(lists); n > 1 && n != controllers {
		return fmt.Errorf("got properties of %d controllers for %d images", n, controllers)
	}
	return nil
}

// OtherSerial is a serial number for drive k of a run in which another one has this: a guest takes two drives with one
// serial number for the same.
func OtherSerial(serial string, k int) string {
	const most = 20
	suffix := fmt.Sprintf("-%d", k+1)
	return serial[:min(len(serial), most-len(suffix))] + suffix
}

// textProperties are the properties of the nvme and nvme-ns devices that are strings whatever their value
// looks like. All others are numbers or on/off.
var textProperties = map[string]bool{
	"driver": true, "id": true, "bus": true, "addr": true, "serial": true, "drive": true, "uuid": true, "nguid": true,
	"subsys": true, "romfile": true, "failover_pair_id": true, "pmrdev": true, "acpi-index": false, "eui64": false,
	"host-devices": true, "sriov-pf": true,
}

// ParseProperties reads KEY=VALUE[,KEY=VALUE...], as they follow a device's name in QEMU's -device. A doubled
// comma stands for a comma in a value; a key alone means on; zasl is short for zoned.zasl.
func ParseProperties(list string) ([]Property, error) {
	var props []Property
	for _, item := range splitCommas(list) {
		key, value, given := strings.Cut(item, "=")
		switch {
		case key == "":
			return nil, fmt.Errorf("%q: want KEY=VALUE[,KEY=VALUE...]", list)
		case key == "driver" || key == "drive":
			return nil, fmt.Errorf("%s is not a property that can be set", key)
		case !given:
			value = "on"
		case key == "zasl":
			key = "zoned.zasl"
		}
		props = append(props, Property{key, value})
	}
	return props, nil
}

// splitCommas splits s at its single commas; a doubled comma is a comma.
func splitCommas(s string) []string {
	var list []string
	var item strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			item.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			item.WriteByte(',')
			i++
		default:
			list = append(list, item.String())
			item.Reset()
		}
	}
	return append(list, item.String())
}

// set replaces the value of a property, or adds it.
func set(props []Property, key, value string) []Property {
	for i := range props {
		if props[i].Key == key {
			props[i].Value = value
			return props
		}
	}
	return append(props, Property{key, value})
}

// get is the value of a property, empty if it is not there.
func get(props []Property, key string) string {
	for _, p := range props {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// plain is props as the argument of a -device that people read and shells split.
func plain(props []Property) string {
	words := []string{get(props, "driver")}
	for _, p := range props {
		if p.Key != "driver" {
			words = append(words, p.Key+"="+escape(p.Value))
		}
	}
	return strings.Join(words, ",")
}

// escape doubles commas, which QEMU takes for the end of a value.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// typed is props as a JSON object. QEMU makes the devices that are given so after all others, in their order:
// a drive that has no address of its own then takes what the caller's devices have left free.
func typed(props []Property) (string, error) {
	m := map[string]any{}
	for _, p := range props {
		m[p.Key] = typedValue(p)
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func typedValue(p Property) any {
	if textProperties[p.Key] {
		return p.Value
	}
	switch p.Value {
	case "on", "yes", "true":
		return true
	case "off", "no", "false":
		return false
	}
	if n, err := strconv.ParseUint(p.Value, 0, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseInt(p.Value, 0, 64); err == nil {
		return n
	}
	return p.Value
}

// Serial is the serial number that the controller of the image with that UUID has: its first 20 digits, which
// is as long as a serial number can be. So a guest knows the drive again.
func Serial(uuid [16]byte) string { return hex.EncodeToString(uuid[:10]) }

// controllerModel is what QEMU's controller says it is.
const controllerModel = "QEMU NVMe Ctrl"

// ByID is the name that udev gives a namespace below /dev/disk/by-id in a guest with QEMU's controller.
// Namespace 1 has a second name, without its number.
func ByID(serial string, ns layout.NSID) string {
	return fmt.Sprintf("nvme-%s_%s_%d", strings.ReplaceAll(controllerModel, " ", "_"), serial, ns)
}

// controller is the NVMe controller of an image: its properties as zimg has them, changed and followed by those that
// the caller gives.
func controller(uuid [16]byte, id string, more []Property) []Property {
	props := []Property{{"driver", "nvme"}, {"id", id}, {"serial", Serial(uuid)}}
	for _, p := range more {
		props = set(props, p.Key, p.Value)
	}
	return props
}

// placed is props with a bus where they need one.
func (s *session) placed(props []Property) []Property {
	bus := s.caller.rootBus()
	if bus == "" || get(props, "bus") != "" {
		return props
	}
	return append(props[:len(props):len(props)], Property{"bus", bus})
}

// namespace is the device of a namespace on the block node drive, at the controller bus.
func namespace(n *layout.Namespace, bus, drive string, shared bool) []Property {
	p := []Property{
		{"driver", "nvme-ns"},
		{"drive", drive},
		{"bus", bus},
		{"nsid", fmt.Sprint(n.ID)},
		{"logical_block_size", fmt.Sprint(n.BlockSize())},
		// QEMU refuses a logical block larger than the physical one.
		{"physical_block_size", fmt.Sprint(max(n.BlockSize(), 512))},
	}
	add := func(on bool, key string, value any) {
		if on {
			p = append(p, Property{key, fmt.Sprint(value)})
		}
	}
	add(n.UUID != [16]byte{}, "uuid", layout.FormatUUID(n.UUID))
	add(n.NGUID != [16]byte{}, "nguid", hex.EncodeToString(n.NGUID[:]))
	add(n.EUI64 != [8]byte{}, "eui64", fmt.Sprintf("%#x", binary.BigEndian.Uint64(n.EUI64[:])))
	// Several nodes over one file: each has to let the others write.
	add(shared, "share-rw", "on")
	add(n.MS > 0, "ms", n.MS)
	add(n.ExtLBA, "mset", 1)
	add(n.PI > 0, "pi", n.PI)
	add(n.PIFirst, "pil", 1)
	add(n.PIFormat > 0, "pif", n.PIFormat)
	if n.Zoned() {
		add(true, "zoned", "on")
		add(true, "zoned.zone_size", int64(n.ByteOff(n.ZoneSize)))
		add(true, "zoned.zone_capacity", int64(n.ByteOff(n.ZoneCap)))
		add(n.MaxOpen() > 0, "zoned.max_open", n.MaxOpen())
		add(n.MaxActive() > 0, "zoned.max_active", n.MaxActive())
		add(n.ZDES > 0, "zoned.descr_ext_size", n.ExtSize())
		add(n.CrossRead, "zoned.cross_read", "on")
		add(n.ZRWAS > 0, "zoned.zrwas", int64(n.ByteOff(layout.LBA(n.ZRWAS))))
		add(n.ZRWAS > 0, "zoned.zrwafg", int64(n.ByteOff(layout.LBA(n.ZRWAFG))))
		add(n.NumZRWA > 0, "zoned.numzrwa", n.NumZRWA)
	}
	return p
}
