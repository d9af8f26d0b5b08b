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

// Class is the kind of repair that fixes a finding.
type Class string

// Classes of repair.
const (
	ClassSafe  Class = "safe"  // loses nothing that the guest wrote
	ClassLossy Class = "lossy" // makes a choice or loses data; repaired only on demand
	ClassNone  Class = "none"  // cannot be repaired, or needs no repair
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
	LiveRecordDamaged Code = "live-record-damaged"
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
	{LocatorDamaged, Error, ClassSafe, "locator missing or damaged", "rewrites it at the place given by the slot headers, and truncates the file after it"},
	{HeaderDamaged, Warning, ClassSafe, "invalid slot header (damage or an interrupted commit)", "rewrites the slot from the other one"},
	{ChecksumsDamaged, Warning, ClassSafe, "slot does not match its checksum array (damage or an interrupted commit)", "rewrites the slot from the other one"},
	{TableDamaged, Warning, ClassSafe, "namespace table of a slot is damaged", "rewrites the slot from the other one"},
	{SlotForeign, Error, ClassSafe, "slot belongs to another image", "rewrites the slot from the other one"},
	{SlotsSalvaged, Error, ClassLossy, "both slots are damaged, but the tables of one are readable", "uses these tables, checks every zone and scans the data"},
	{SlotsLost, Error, ClassNone, "both slots are damaged, and no namespace table is readable", "none; with the geometry, see metadata-lost"},
	{MetadataLost, Error, ClassLossy, "all metadata is lost; the geometry was given", "creates new metadata and derives the zones from the data; finished, read-only and offline states and extensions are lost"},
	{SameGeneration, Error, ClassLossy, "both slots have the same generation but differ", "uses slot 0"},
	{BitFlipped, Error, ClassSafe, "single-bit error in the metadata", "corrects the bit"},
	{BlockDamaged, Error, ClassSafe, "metadata block damaged in one slot", "copies it from the other slot"},
	{BlockLost, Error, ClassLossy, "metadata block damaged in both slots", "rebuilds it from the other tables and the data; finished, read-only and offline states and extensions in it are lost"},
	{OlderDamaged, Warning, ClassSafe, "blocks of the older slot do not match it (damage or an interrupted commit)", "rewrites them"},
	{SidecarLeftover, Warning, ClassSafe, "sidecar left by an interrupted conversion", "removes it"},
	{SidecarForeign, Note, ClassNone, "the sidecar next to the image belongs to another image", "none; move it"},
	{TailLeftover, Warning, ClassSafe, "metadata left after the data area by an interrupted conversion", "truncates the file"},
	{DataShort, Error, ClassLossy, "data file is shorter than its data area", "extends it; the missing part reads as zeros"},
	{DataFileName, Note, ClassNone, "the name of the data file differs from the one in the metadata", "none needed; it was found by the name of the sidecar"},

	{ZoneType, Error, ClassLossy, "reserved zone type", "sets it to sequential write required"},
	{ZoneState, Error, ClassLossy, "reserved zone state", "derives it from write pointer and data"},
	{ZoneAttributes, Error, ClassSafe, "reserved bits set in a zone descriptor", "clears them"},
	{ZoneStart, Error, ClassSafe, "wrong zone start", "sets it from the zone number"},
	{ZoneCapacity, Error, ClassSafe, "invalid zone capacity", "uses the capacity of the namespace"},
	{ZoneConvState, Error, ClassSafe, "state does not match the zone type", "sets the state of its type"},
	{WPUnexpected, Warning, ClassSafe, "write pointer in a state that has none", "removes it"},
	{WPRange, Error, ClassSafe, "write pointer outside the zone", "uses the one in the write-pointer array"},
	{WPMismatch, Error, ClassSafe, "zone descriptor and write-pointer array differ", "uses the larger one, so that no data is lost"},
	{WrittenRange, Error, ClassLossy, "write-pointer array points outside the zone", "uses the write pointer in the descriptor, or else the end of the data"},
	{EmptyWritten, Error, ClassSafe, "Empty zone contains data", "sets it Closed"},
	{EmptyExtension, Error, ClassSafe, "Empty zone has an extension", "sets it Closed, as after a power-up"},
	{ExtensionOrphan, Error, ClassSafe, "zone has an extension, but the namespace has none", "clears the attribute"},
	{OpenedAtRest, Note, ClassNone, "zone is open", "none needed; the next power-up closes it"},
	{FullAtCapacity, Error, ClassSafe, "zone is written to its capacity but not Full", "sets it Full"},

	{CountsWrong, Error, ClassSafe, "wrong zone counts in the header", "recounts them"},
	{TooManyOpen, Error, ClassSafe, "too many open zones", "closes zones, implicitly opened ones first"},
	{TooManyActive, Error, ClassLossy, "too many active zones", "finishes the zones with the least space left; they cannot be written until they are reset"},

	{DriveDied, Warning, ClassSafe, "a drive serving the image was killed; the live file has the current zones", "uses the zones of the live file and closes open ones; nothing is lost"},
	{DrivePower, Warning, ClassSafe, "a drive serving the image lost power, or its disk failed", "uses the zones of the last flush, discards later writes and closes open zones"},
	{LiveFileLost, Error, ClassLossy, "a drive serving the image was killed, and its live file is missing or damaged", "uses the zones of the last flush and discards later writes"},
	{LiveRecordDamaged, Error, ClassLossy, "a drive serving the image was killed, and the record of a zone in the live file is damaged", "derives the zone from the last flush and from the data written since; a later reset or finish is lost"},
	{RunCrashed, Error, ClassSafe, "the last run was interrupted", "recovers the zones from journal and data, and closes open ones"},
	{ChangeInterrupted, Error, ClassSafe, "a zimg command was interrupted while changing the image", "discards data after the write pointers; the image is as before the command, or as after a reset"},
	{JournalMissing, Note, ClassNone, "the journal of the run is missing or incomplete; zones are recovered from the data alone", "none"},
	{DataBeyondWP, Error, ClassSafe, "data after the write pointer", "moves the write pointer to the end of the data"},
	{DataGone, Error, ClassSafe, "data before the write pointer is gone; the zone was reset", "moves the write pointer to the end of the new data"},
	{DataBeyondCap, Error, ClassLossy, "data after the zone capacity", "discards it"},
	{ZoneFinished, Error, ClassSafe, "the zone was finished before the crash", "sets it Full"},
	{ZoneExtensionLost, Warning, ClassLossy, "zone descriptor extension lost in the crash", "removes the extension; its contents are not known"},
	{RemainsBeyondWP, Error, ClassSafe, "data after the write pointer, left by an interrupted command", "discards it"},
	{ProtectionWrong, Error, ClassNone, "protection information does not match the block; a guest cannot read it", "none; write the block again"},

	{ForeignUnreadable, Error, ClassNone, "cannot parse this file", "none; the file cannot be imported"},
	{ForeignWiped, Error, ClassNone, "its own program would silently reset zones when it starts", "none; import it"},
	{ForeignRefused, Error, ClassNone, "its own program would reject this file", "none; import it"},
	{ForeignOdd, Warning, ClassNone, "unusual, but accepted by its own program", "none"},
	{ForeignChanged, Note, ClassNone, "its own program will change this when it starts", "none needed"},
}

var catalogue = func() map[Code]*Entry {
	m := map[Code]*Entry{}
	for i := range Catalogue {
		m[Catalogue[i].Code] = &Catalogue[i]
	}
	return m
}()
