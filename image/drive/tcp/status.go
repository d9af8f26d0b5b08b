package tcp

import "zimg/image/drive"

// Statuses that only fabrics have, as they are sent (NVMe Base 2.0, sections 3.3.3.2 and 6.2).
const (
	sglTypeInvalid     = 0x011 | drive.DNR
	sglOffsetInvalid   = 0x016 | drive.DNR
	transientTransport = drive.Status(0x022) // the data did not arrive whole: to be repeated
	incompatibleFormat = 0x180 | drive.DNR
	controllerBusy     = drive.Status(0x181) // to be repeated
	connectInvalid     = 0x182 | drive.DNR
	hostNotAllowed     = 0x184 | drive.DNR
	invalidQueueType   = 0x186 | drive.DNR
	authRequired       = 0x191 | drive.DNR
)

// invalidParameter says in dword 0 of a failed Connect where the fault is: in the data, or in the command.
func invalidParameter(inData bool, offset uint16) drive.Completion {
	result := uint64(offset)
	if inData {
		result |= 1 << 16
	}
	return drive.Completion{Result: result, Status: connectInvalid}
}
