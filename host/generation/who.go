package generation

import (
	"os"
	"os/user"
	"strconv"
)

// Who asked for something.
type Who struct {
	Command string `json:"command"` // host reload, SIGHUP, …
	UID     uint32 `json:"uid"`
	User    string `json:"user"` // name of the uid, or its number
}

// System is who asks for what nobody asked for.
func System(command string) Who { return By(uint32(os.Geteuid()), command) }

// By is a user who asks.
func By(uid uint32, command string) Who {
	w := Who{Command: command, UID: uid, User: strconv.FormatUint(uint64(uid), 10)}
	if u, err := user.LookupId(w.User); err == nil {
		w.User = u.Username
	}
	return w
}
