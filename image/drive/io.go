package drive

// ioTransfer is Transfer for an I/O queue.
func (c *Controller) ioTransfer(cmd *Command) (dir Direction, data, meta int, st Status) {
	return None, 0, 0, InvalidOpcode.fatal()
}

// io executes a command of an I/O queue.
func (c *Controller) io(qid uint16, cmd *Command, data, meta []byte, done func(Completion)) (Completion, bool) {
	return Completion{Status: InvalidOpcode.fatal()}, true
}

// failed notes that a command ended with an error.
func (c *Controller) failed(qid uint16, cmd *Command, st Status) {}
