package secret

import "github.com/pluginhost/host/sdk/wire"

// Error returns an error with what hide takes out of its texts. It is a copy:
// others may hold the error itself.
func Error(e *wire.Error, hide func(string) string) *wire.Error {
	c := *e
	c.Message, c.Reason = hide(c.Message), hide(c.Reason)
	if len(c.Details) > 0 {
		c.Details = []byte(hide(string(c.Details)))
	}
	return &c
}
