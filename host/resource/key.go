package resource

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pluginhost/host/host/resource/address"
	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/schema"
)

// wanted is a resource in the form that is asked of the spawner.
type wanted struct {
	key    string
	value  string          // as the user wrote it
	listen address.Address // of a listener
	bind   *spawner.Bind   // of a listener
	open   *spawner.Open   // of a file
}

// addressOf returns the instance's address in an owner: what stays the same
// from one life to the next.
func addressOf(owner string) string {
	if n := strings.LastIndexByte(owner, '@'); n >= 0 {
		return owner[:n]
	}
	return owner
}

func parse(owner string, r Want) (wanted, error) {
	switch r.Kind {
	case schema.Listener:
		return parseListener(owner, r)
	case schema.File:
		return parseFile(r)
	}
	return wanted{}, fmt.Errorf("%s is neither a socket nor a file", r.Attribute)
}

// parseListener asks the machine what the address alone does not say: the
// network namespace, without which an address is no socket, the name of a
// device given by its number, and the numbers of users.
func parseListener(owner string, r Want) (wanted, error) {
	w := wanted{value: r.Value}
	a, err := address.Parse(r.Value)
	if err != nil {
		return w, err
	}
	if a.IsPath() && !filepath.IsAbs(a.Path) {
		return w, fmt.Errorf("%q needs an absolute path: %s:///run/name.sock", r.Value, a.Network)
	}
	if a.IsPath() {
		a.Path = realPath(a.Path)
	}
	if zone := a.Addr.Addr().Zone(); zone != "" {
		device, err := lookupDevice(zone)
		if err != nil {
			return w, err
		}
		a.Addr = withZone(a.Addr, device)
		a.Device = device
	}
	w.listen = a
	w.key = a.Key()
	if a.AnyPort() { // every :0 is another socket, which keeps its port while held
		w.key += " for " + addressOf(owner) + " " + r.Attribute
	}
	if !a.IsPath() {
		w.key += " in " + namespace()
	}
	settings, err := settingsOf(a)
	w.bind = &spawner.Bind{Network: a.Network, Address: a.Path, Settings: settings,
		Device: a.Device, FreeBind: a.FreeBind, Transparent: a.Transparent, ReusePort: a.ReusePort}
	if !a.IsPath() {
		w.bind.Address = a.Addr.String()
		switch {
		case a.Addr.Addr().Is4():
			w.bind.Network += "4"
		case !a.Dual:
			w.bind.Network += "6"
		}
	}
	return w, err
}

func lookupDevice(zone string) (string, error) {
	var device *net.Interface
	var err error
	if n, number := strconv.Atoi(zone); number == nil {
		device, err = net.InterfaceByIndex(n)
	} else {
		device, err = net.InterfaceByName(zone)
	}
	if err != nil {
		return "", fmt.Errorf("there is no network device %s, which the address names; ip link lists those that are", zone)
	}
	return device.Name, nil
}

// settingsOf resolves what is written as a name.
func settingsOf(a address.Address) (spawner.Settings, error) {
	s := spawner.Settings{Backlog: a.Settings.Backlog, Mode: a.Settings.Mode, UID: -1, GID: -1,
		ReceiveBuffer: a.Settings.ReceiveBuffer, SendBuffer: a.Settings.SendBuffer,
		KeepAlive: int(a.Settings.KeepAlive / time.Second)}
	var uerr, gerr error
	if a.Settings.Owner != "" {
		s.UID, uerr = UserID(a.Settings.Owner)
	}
	if a.Settings.Group != "" {
		s.GID, gerr = GroupID(a.Settings.Group)
	}
	return s, errors.Join(uerr, gerr)
}

// namespace names the network namespace of this process.
func namespace() string {
	s, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return "net:[unknown]"
	}
	return s
}

func parseFile(r Want) (wanted, error) {
	w := wanted{value: r.Value}
	if !filepath.IsAbs(r.Value) {
		return w, fmt.Errorf("the path %q is not absolute", r.Value)
	}
	path := realPath(filepath.Clean(r.Value))
	w.open = &spawner.Open{Path: path, Access: r.Access}
	w.key = "file " + path + " " + r.Access
	return w, nil
}

// realPath makes one name of the names of one file, whose last part need not
// exist yet.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}
