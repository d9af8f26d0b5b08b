package drive

// adminTransfer is Transfer for the admin queue.
func (c *Controller) adminTransfer(cmd *Command) (Direction, int, Status) {
	if cmd.Flags()&fuseMask != 0 {
		return None, 0, InvalidField.fatal()
	}
	switch cmd.Opcode() {
	case opIdentify:
		return FromController, identifyLen, Success
	case opGetLog:
		length, st := c.logTransfer(cmd)
		return FromController, length, st
	case opGetFeatures:
		return FromController, featureData(cmd, true), Success
	case opSetFeatures:
		return ToController, featureData(cmd, false), Success
	case opAbort, opAsyncEvent, opKeepAlive:
		return None, 0, Success
	}
	return None, 0, InvalidOpcode.fatal()
}

// admin executes a command of the admin queue.
func (c *Controller) admin(cmd *Command, data []byte, done func(Completion)) (Completion, bool) {
	var cpl Completion
	_, want, st := c.adminTransfer(cmd)
	if st.OK() && len(data) != want {
		st = DataTransferError.fatal()
	}
	if !st.OK() {
		c.failed(0, cmd, st)
		return Completion{Status: st}, true
	}
	switch cmd.Opcode() {
	case opIdentify:
		clear(data)
		cpl.Status = c.identify(cmd, data)
	case opGetLog:
		cpl.Status = c.getLog(cmd, data)
	case opGetFeatures:
		cpl = c.getFeature(cmd, data)
	case opSetFeatures:
		cpl = c.setFeature(cmd, data)
	case opAsyncEvent:
		if cpl.Status = c.events.wait(cmd, done); cpl.Status.OK() {
			return Completion{}, false
		}
	}
	if !cpl.Status.OK() {
		c.failed(0, cmd, cpl.Status)
	}
	return cpl, true
}

// abort is Abort: a command that waits is ended. Bit 0 of the result says that none was.
// What ends that one is returned, for the caller to call.
func (c *Controller) abort(cmd *Command) (Completion, func()) {
	qid, cid := uint16(cmd.DW(10)), uint16(cmd.DW(10)>>16)
	done := c.delayed.take(qid, cid)
	if done == nil && qid == 0 {
		done = c.events.take(cid)
	}
	if done == nil {
		return Completion{Result: 1}, nil
	}
	return Completion{}, func() { done(Completion{Status: AbortRequested}) }
}
