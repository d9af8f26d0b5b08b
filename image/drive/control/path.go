package control

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// Suffix is added to the name of the metadata file to find the socket.
const Suffix = ".zctl"

// maxName is the longest name of a socket in a folder that can be used: the system takes 107 bytes, less those of
// /proc/self/fd/N/.
const maxName = 107 - len("/proc/self/fd/2147483647/")

// SocketPath is where the socket of the image is whose metadata file is at path: PATH.zctl, or for a name too long
// for a socket another one that is made of it, in the same folder.
func SocketPath(path string) string {
	dir, name := filepath.Split(path)
	if len(name)+len(Suffix) <= maxName {
		return path + Suffix
	}
	sum := sha256.Sum256([]byte(name))
	return dir + fmt.Sprintf(".zimg-%x%s", sum[:16], Suffix)
}

// within opens the folder of a socket and returns an address of it that is short enough however long the path is. The
// address is good until folder is closed.
func within(path string) (folder *os.File, address string, err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	folder, err = os.Open(dir)
	if err != nil {
		return nil, "", err
	}
	return folder, fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name), nil
}
