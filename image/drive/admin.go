package drive

// adminTransfer is Transfer for the admin queue.
func (c *Controller) adminTransfer(cmd *Command) (Direction, int, Status) {
	switch cmd.Opcode() {
	case opIdentify:
		return FromController, identifyLen, Success
	case opKeepAlive:
		return None, 0, Success
	}
	return None, 0, InvalidOpcode.fatal()
}

// admin executes a command of the admin queue.
func (c *Controller) admin(cmd *Command, data []byte, done func(Completion)) (Completion, bool) {
	var cpl Completion
	switch cmd.Opcode() {
	case opIdentify:
		clear(data)
		cpl.Status = c.identify(cmd, data)
	case opKeepAlive:
	default:
		cpl.Status = InvalidOpcode.fatal()
	}
	return cpl, true
}
