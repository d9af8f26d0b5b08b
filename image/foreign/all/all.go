// Package all lists the foreign formats.
package all

import (
	"zimg/image/foreign"
	"zimg/image/foreign/device"
	"zimg/image/foreign/fakezbc"
	"zimg/image/foreign/filezbc"
	"zimg/image/foreign/gzoned"
	"zimg/image/foreign/pstate"
	"zimg/image/foreign/qcow2"
	"zimg/image/foreign/rawdata"
	"zimg/image/foreign/zbddump"
	"zimg/image/foreign/zonedir"
	"zimg/image/foreign/zonedraw"
	"zimg/image/foreign/zonefile"
)

// Formats are all formats, in the order in which they are listed and looked for.
var Formats = []*foreign.Format{
	zonefile.Format,
	pstate.Format,
	pstate.Footer,
	pstate.V1,
	pstate.V0,
	zonedraw.Format,
	qcow2.Format,
	zbddump.Format,
	zonedir.Zloop,
	zonedir.Rublk,
	filezbc.Format,
	gzoned.Format,
	fakezbc.Format,
	rawdata.Format,
	device.Format,
}
