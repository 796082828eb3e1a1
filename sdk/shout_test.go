package sdk_test

import (
	"testing"

	"github.com/pluginhost/host/sdk/sdktest"
)

// The plugin of the example, which stands alone in its file so that go doc and
// its like show all of it.
func TestExample(t *testing.T) {
	in := sdktest.Start(t, shout(), nil)
	v, err := in.Call("say", Line{"hello"})
	var spoken, heard Line
	if err != nil || v.Into(&spoken) != nil || spoken.Text != "> HELLO" {
		t.Errorf("%s, %v", v, err)
	}
	if in.Next("said").Into(&heard); heard != spoken {
		t.Errorf("said %+v", heard)
	}
}
