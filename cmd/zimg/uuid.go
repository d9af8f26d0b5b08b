package main

import (
	"zimg/cmd/internal/cli"
	"zimg/image"
)

// parseUUID is the value of a --uuid flag that was given: "new" is a random one.
func parseUUID(text string) (uuid [16]byte, err error) {
	switch text {
	case "":
		return uuid, cli.UsageError("--uuid is empty")
	case "new":
		return image.NewUUID(), nil
	}
	if err := cli.ParseHex(text, uuid[:]); err != nil {
		return uuid, cli.UsageError("--uuid %q: %v", text, err)
	}
	if uuid == ([16]byte{}) {
		return uuid, cli.UsageError("--uuid %q: must not be zero", text)
	}
	return uuid, nil
}
