package guest

import "time"

// SetPowerOff sets how long a guest may take to power off, and returns what it was.
func SetPowerOff(d time.Duration) time.Duration {
	old := powerOff
	powerOff = d
	return old
}
