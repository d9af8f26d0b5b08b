package fsck

// Code names a kind of finding. Codes are stable: scripts may test for them.
type Code string

// Severity of a finding.
type Severity string

// Severities. Notes do not count in the verdict.
const (
	Error   Severity = "ERROR"
	Warning Severity = "WARNING"
	Note    Severity = "NOTE"
)

// Class says which repair mends a finding.
type Class string

// Classes of repair.
const (
	ClassSafe  Class = "safe"  // loses nothing that the guest wrote
	ClassLossy Class = "lossy" // chooses, or gives up what is gone; repaired only on demand
	ClassNone  Class = "none"  // nothing mends it
)

// Entry is what the catalogue knows of a code. docs/CHECKS.md has the same table.
type Entry struct {
	Code     Code
	Severity Severity
	Class    Class
	Text     string // what is wrong, for the line a person reads
	Repair   string // what a repair does
}

// The codes.
const (
	LocatorDamaged   Code = "locator-damaged"
	HeaderDamaged    Code = "header-damaged"
	ChecksumsDamaged Code = "checksums-damaged"
	TableDamaged     Code = "table-damaged"
	SlotForeign      Code = "slot-foreign"
	SlotsSalvaged    Code = "slots-salvaged"
	SlotsLost        Code = "slots-lost"
	MetadataLost     Code = "metadata-lost"
	SameGeneration   Code = "same-generation"
	BitFlipped       Code = "bit-flipped"
	BlockDamaged     Code = "block-damaged"
	BlockLost        Code = "block-lost"
	OlderDamaged     Code = "older-damaged"
	SidecarLeftover  Code = "sidecar-leftover"
	SidecarForeign   Code = "sidecar-foreign"
	TailLeftover     Code = "tail-leftover"
	DataShort        Code = "data-short"
	DataFileName     Code = "data-file-name"

	ZoneType        Code = "zone-type"
	ZoneState       Code = "zone-state"
	ZoneAttributes  Code = "zone-attributes"
	ZoneStart       Code = "zone-start"
	ZoneCapacity    Code = "zone-capacity"
	ZoneConvState   Code = "conventional-state"
	WPUnexpected    Code = "wp-unexpected"
	WPRange         Code = "wp-range"
	WPMismatch      Code = "wp-mismatch"
	WrittenRange    Code = "written-range"
	EmptyWritten    Code = "empty-written"
	EmptyExtension  Code = "empty-extension"
	ExtensionOrphan Code = "extension-orphan"
	OpenedAtRest    Code = "opened-at-rest"
	FullAtCapacity  Code = "full-at-capacity"

	CountsWrong   Code = "counts-wrong"
	TooManyOpen   Code = "too-many-open"
	TooManyActive Code = "too-many-active"

	DriveDied         Code = "drive-died"
	DrivePower        Code = "drive-lost-power"
	LiveFileLost      Code = "live-file-lost"
	RunCrashed        Code = "run-crashed"
	ChangeInterrupted Code = "change-interrupted"
	JournalMissing    Code = "journal-missing"
	DataBeyondWP      Code = "data-beyond-wp"
	DataGone          Code = "data-gone"
	DataBeyondCap     Code = "data-beyond-capacity"
	ZoneFinished      Code = "zone-finished"
	ZoneExtensionLost Code = "extension-lost"
	RemainsBeyondWP   Code = "remains-beyond-wp"
	ProtectionWrong   Code = "protection-wrong"

	ForeignUnreadable Code = "foreign-unreadable"
	ForeignWiped      Code = "foreign-wiped"
	ForeignRefused    Code = "foreign-refused"
	ForeignOdd        Code = "foreign-odd"
	ForeignChanged    Code = "foreign-changed"
)

// Catalogue lists every finding, in the order of the passes.
var Catalogue = []Entry{
	{LocatorDamaged, Error, ClassSafe, "the locator at the end of the file is missing or damaged", "writes it anew where the slot headers say that it belongs, and ends the file behind it"},
	{HeaderDamaged, Warning, ClassSafe, "a slot has no sound header: damage, or an interrupted commit", "writes the slot anew from the other one"},
	{ChecksumsDamaged, Warning, ClassSafe, "a slot does not match its checksum array: damage, or an interrupted commit", "writes the slot anew from the other one"},
	{TableDamaged, Warning, ClassSafe, "a slot's namespace table is damaged", "writes the slot anew from the other one"},
	{SlotForeign, Error, ClassSafe, "a slot is of another image", "writes the slot anew from the other one"},
	{SlotsSalvaged, Error, ClassLossy, "neither slot is sound, but tables of one can still be read", "trusts the tables as they are, checks every zone and scans the data"},
	{SlotsLost, Error, ClassNone, "neither slot is sound, and no namespace table can be read", "none, unless the geometry is given: then it is metadata-lost"},
	{MetadataLost, Error, ClassLossy, "no metadata is left; the geometry was given", "makes new metadata, with the zones as the data says: finished, read-only and offline zones and extensions are lost"},
	{SameGeneration, Error, ClassLossy, "both slots have the same generation and differ", "takes slot 0"},
	{BitFlipped, Error, ClassSafe, "one bit of the metadata has flipped, and the checksum says which one", "flips it back"},
	{BlockDamaged, Error, ClassSafe, "a block of the metadata is damaged; the other slot has it whole", "restores it from there"},
	{BlockLost, Error, ClassLossy, "a block of the metadata is damaged in both slots", "rebuilds it from the other tables and from the data: states of finished, read-only and offline zones and extensions in it are lost"},
	{OlderDamaged, Warning, ClassSafe, "blocks of the older slot do not match it: damage, or an interrupted commit", "writes them anew"},
	{SidecarLeftover, Warning, ClassSafe, "a sidecar that an interrupted conversion left is beside the image", "removes it"},
	{SidecarForeign, Note, ClassNone, "a sidecar of another image is beside this one", "none: move it away"},
	{TailLeftover, Warning, ClassSafe, "metadata that an interrupted conversion left is behind the data area", "cuts it off"},
	{DataShort, Error, ClassLossy, "a data file is shorter than its data area", "makes it as long; what is missing reads as zeroes"},
	{DataFileName, Note, ClassNone, "the data file has another name than the metadata says", "none needed: it was found by the name of the sidecar"},

	{ZoneType, Error, ClassLossy, "a reserved zone type", "makes it sequential write required"},
	{ZoneState, Error, ClassLossy, "a reserved zone state", "makes it what its write pointer and data say"},
	{ZoneAttributes, Error, ClassSafe, "reserved bits in a descriptor", "clears them"},
	{ZoneStart, Error, ClassSafe, "a zone does not start where it must", "puts the start where the zone's number says"},
	{ZoneCapacity, Error, ClassSafe, "an impossible zone capacity", "takes the namespace's"},
	{ZoneConvState, Error, ClassSafe, "a conventional zone in a state of sequential ones, or the other way round", "gives it the state of its type"},
	{WPUnexpected, Warning, ClassSafe, "a write pointer where the state has none", "takes it away"},
	{WPRange, Error, ClassSafe, "the write pointer is outside the zone", "takes the write-pointer array's"},
	{WPMismatch, Error, ClassSafe, "descriptor and write-pointer array disagree", "takes the larger one, so that no data is lost"},
	{WrittenRange, Error, ClassLossy, "the write-pointer array points outside the zone", "takes the descriptor's write pointer; without one, the end of the data"},
	{EmptyWritten, Error, ClassSafe, "an Empty zone that was written to", "makes it Closed"},
	{EmptyExtension, Error, ClassSafe, "an Empty zone with an extension", "makes it Closed, as after a power-up"},
	{ExtensionOrphan, Error, ClassSafe, "an extension where the namespace has none", "clears the attribute"},
	{OpenedAtRest, Note, ClassNone, "a zone is open at rest", "none needed: a power-up closes it"},
	{FullAtCapacity, Error, ClassSafe, "a zone that is written to its capacity is not Full", "makes it Full"},

	{CountsWrong, Error, ClassSafe, "the header's counts of zones are wrong", "counts them anew"},
	{TooManyOpen, Error, ClassSafe, "more zones are open than allowed", "closes zones, implicitly opened ones first"},
	{TooManyActive, Error, ClassLossy, "more zones are active than allowed", "finishes zones, those with the least room left first: they cannot be written until they are reset"},

	{DriveDied, Warning, ClassSafe, "a drive that served the image died; the live file has every zone as the host knows it", "takes the zones from there and closes opened ones; nothing is lost"},
	{DrivePower, Warning, ClassSafe, "a drive that served the image lost power, or its disk failed", "takes the zones of the last flush, discards what was written since, and closes opened ones"},
	{LiveFileLost, Error, ClassLossy, "a drive that served the image died, and its live file is not here", "takes the zones of the last flush, and discards what was written since"},
	{RunCrashed, Error, ClassSafe, "a run that had the image in use died", "brings the zones to what journal and data say, and closes opened ones"},
	{ChangeInterrupted, Error, ClassSafe, "a zimg command that was changing the image was interrupted", "discards what it left beyond the write pointers: the image is as before the command, or as after a reset"},
	{JournalMissing, Note, ClassNone, "the run's journal is missing or torn: finished and reset zones are told from the data alone", "none"},
	{DataBeyondWP, Error, ClassSafe, "there is data beyond the write pointer", "moves the write pointer forward to cover it"},
	{DataGone, Error, ClassSafe, "data below the write pointer is gone: the zone was reset", "starts the zone again where its new data ends"},
	{DataBeyondCap, Error, ClassLossy, "there is data beyond the zone's capacity", "discards it"},
	{ZoneFinished, Error, ClassSafe, "the zone was finished before the crash", "makes it Full"},
	{ZoneExtensionLost, Warning, ClassLossy, "a descriptor extension was set before the crash, and went with it", "none of its bytes are known: the zone has none"},
	{RemainsBeyondWP, Error, ClassSafe, "an interrupted command left data beyond the write pointer", "discards it"},
	{ProtectionWrong, Error, ClassNone, "protection information does not match the block: a guest cannot read it", "none: the block has to be written again"},

	{ForeignUnreadable, Error, ClassNone, "a foreign format that cannot be understood here", "none, and it cannot be imported as it is"},
	{ForeignWiped, Error, ClassNone, "the program that this format belongs to would reset zones when it starts, and say nothing", "none: import it instead"},
	{ForeignRefused, Error, ClassNone, "the program that this format belongs to would refuse it", "none: import it instead"},
	{ForeignOdd, Warning, ClassNone, "not as the program that this format belongs to writes it", "none"},
	{ForeignChanged, Note, ClassNone, "the program that this format belongs to changes this when it starts", "none needed"},
}

var catalogue = func() map[Code]*Entry {
	m := map[Code]*Entry{}
	for i := range Catalogue {
		m[Catalogue[i].Code] = &Catalogue[i]
	}
	return m
}()
