package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"zimg/cmd/internal/cli"
	"zimg/image/foreign"
)

// unpackers write to standard output what a compressed file holds.
var unpackers = map[string]string{
	"gzip": "gzip -dc", "xz": "xz -dc", "zstd": "zstd -dc", "bzip2": "bzip2 -dc", "lz4": "lz4 -dc", "lzip": "lzip -dc",
}

// hintContainer says what the file at path is, and which command makes a file of it that zimg may know.
func hintContainer(path string, c *foreign.Container) string {
	return fmt.Sprintf("%s is %s; %s", cli.ShellWord(path), c.Title, hintUnpack(path, c))
}

// hintUnpack is hintContainer where the error says what the file is.
func hintUnpack(path string, c *foreign.Container) string {
	from, to := cli.ShellWord(path), cli.ShellWord(unpackedName(path))
	var command string
	switch unpack := unpackers[c.Name]; {
	case c.Disk && c.Encrypted:
		key := "key-secret"
		if c.Name == "qcow2" {
			key = "encrypt.key-secret"
		}
		source := fmt.Sprintf("driver=%s,%s=key,file.filename=%s", c.Name, key, strings.ReplaceAll(path, ",", ",,"))
		command = fmt.Sprintf("qemu-img convert --object secret,id=key,file=PASSPHRASEFILE --image-opts -O raw %s %s",
			cli.ShellWord(source), to)
	case c.Disk:
		command = fmt.Sprintf("qemu-img convert -f %s -O raw %s %s", c.Name, from, to)
	case unpack != "":
		command = fmt.Sprintf("%s %s > %s", unpack, from, to)
	case c.Name == "zip":
		command = "unzip " + from
	case c.Name == "7z":
		command = "7z x " + from
	case c.Name == "tar":
		command = "tar -xSf " + from
	}
	what := "make it a raw file"
	if !c.Disk {
		what = "unpack it"
	}
	return fmt.Sprintf("to %s, run: %s", what, command)
}

// unpackedName is a name for what is in the container at path: without its suffix, or with .raw after it.
func unpackedName(path string) string {
	base := strings.TrimSuffix(path, filepath.Ext(path))
	if base == path || filepath.Base(base) == "" {
		return path + ".raw"
	}
	if filepath.Ext(base) == "" {
		return base + ".raw"
	}
	return base // disk.zimg.gz
}
