package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"zimg/image/drive/tcp"
)

// Hosts are the rules for hosts: those with the names nqns, or any if there are none, with the keys in two files. A file
// has one key, or lines with the NQN of a host and its key; without a name no key is asked for.
func Hosts(nqns []string, keyFile, ctrlFile string) ([]tcp.Host, error) {
	keys, err := readKeys(keyFile)
	if err != nil {
		return nil, err
	}
	ctrl, err := readKeys(ctrlFile)
	if err != nil {
		return nil, err
	}
	if len(nqns) == 0 {
		if keyFile == "" {
			return nil, nil
		}
		for nqn := range keys {
			nqns = append(nqns, nqn)
		}
	}
	var hosts []tcp.Host
	for _, nqn := range nqns {
		h := tcp.Host{NQN: nqn, Key: keys.of(nqn), CtrlKey: ctrl.of(nqn)}
		if keyFile != "" && h.Key == nil {
			return nil, fmt.Errorf("%s has no key for %s", keyFile, nqn)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// keys are keys by the NQN of a host; that of "" is for all hosts without one of their own.
type keys map[string]*tcp.Key

func (k keys) of(nqn string) *tcp.Key {
	if key := k[nqn]; key != nil {
		return key
	}
	return k[""]
}

func readKeys(name string) (keys, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	list := keys{}
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		n++
		words := strings.Fields(s.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		nqn := ""
		if len(words) == 2 {
			nqn = words[0]
			if err := tcp.CheckNQN(nqn); err != nil {
				return nil, fmt.Errorf("%s, line %d: NQN %q: %w", name, n, nqn, err)
			}
		}
		key, err := tcp.ParseKey(words[len(words)-1])
		if len(words) > 2 {
			err = fmt.Errorf("a line has a host NQN and a key, or a key alone; this one has %d words", len(words))
		}
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		if list[nqn] != nil {
			return nil, fmt.Errorf("%s, line %d: a second key for the same host", name, n)
		}
		list[nqn] = key
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no key", name)
	}
	return list, nil
}
