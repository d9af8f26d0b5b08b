package foreign

// Verdict says what the original program makes of a problem when it starts.
type Verdict int

// Verdicts, the worst last.
const (
	// Odd is not as the original writes it, but it does not look.
	Odd Verdict = iota
	// Changed zones are altered by the original, as after any power loss.
	Changed
	// Refused files keep the original from starting.
	Refused
	// Wiped files lose all their zones: the original resets them and says nothing.
	Wiped
)

// Problem is one thing that a decoder's check found.
type Problem struct {
	Verdict   Verdict
	Text      string // what is wrong, and what the original does about it
	File      string
	Off       int64
	Zone      uint64
	InZone    bool
	Got, Want string
}
