package grave

import (
	"fmt"
	"testing"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func TestYardIsBounded(t *testing.T) {
	var y Yard
	data := make([]byte, wire.MaxEvent)
	for n := range maxDead + 5 {
		y.Bury(observe.Dead{Route: fmt.Sprint(n)}, &wire.Event{Data: data[:10]})
	}
	all := y.All()
	if len(all) != maxDead || all[0].Route != "5" || y.Forgotten != 5 || y.bytes != 10*maxDead {
		t.Errorf("%d kept from %s on, %d forgotten, %d bytes", len(all), all[0].Route, y.Forgotten, y.bytes)
	}
	for range 100 {
		y.Bury(observe.Dead{}, &wire.Event{Data: data})
	}
	if y.bytes > maxBytes {
		t.Errorf("%d bytes kept", y.bytes)
	}
}

func TestTake(t *testing.T) {
	var y Yard
	data := []byte("1")
	y.Bury(observe.Dead{Route: "a"}, &wire.Event{Data: data})
	data[0] = '2' // the buffer is used again
	b := y.All()[0]
	if string(b.Event.Data) != "1" {
		t.Error("the data was not copied")
	}
	if !y.Take(b) || y.Take(b) || len(y.All()) != 0 || y.bytes != 0 {
		t.Errorf("taken twice, or not at all: %+v", y)
	}
}
