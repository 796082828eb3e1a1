package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control/internal/controlpb"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// fill sets every field that JSON would show to something that is not zero.
func fill(v reflect.Value, n *int, depth int) {
	*n++
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(time.Unix(int64(*n), 5).UTC()))
	case v.Type() == rawType:
		v.Set(reflect.ValueOf(json.RawMessage(fmt.Sprintf(`{"n":%d}`, *n))))
	case v.Type() == reflect.TypeFor[wire.ID]():
		v.Set(reflect.ValueOf(wire.NewID()))
	case v.Type() == reflect.TypeFor[wire.Code]():
		v.Set(reflect.ValueOf(wire.NotFound))
	case v.Kind() == reflect.Pointer:
		if depth < 4 { // types hold types
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), n, depth+1)
		}
	case v.Kind() == reflect.Struct:
		fields(v, func(_ string, v reflect.Value) { fill(v, n, depth+1) })
	case v.Kind() == reflect.Slice:
		if depth < 8 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0), n, depth+1)
			fill(v.Index(1), n, depth+1)
		}
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanUint():
		v.SetUint(uint64(*n))
	default:
		panic("a field of type " + v.Type().String())
	}
}

// Everything that the backend answers arrives at the client.
func TestBridgeKeepsEverything(t *testing.T) {
	for _, tt := range []struct {
		value   any
		message proto.Message
	}{
		{&observe.Status{}, &controlpb.StatusResponse{}},
		{&pluginList{}, &controlpb.PluginsResponse{}},
		{&apply.Result{}, &controlpb.ReloadResult{}},
		{&apply.Progress{}, &controlpb.Progress{}},
		{&EmitResult{}, &controlpb.EmitResponse{}},
		{&observe.Entry{}, &controlpb.Entry{}},
	} {
		n := 0
		fill(reflect.ValueOf(tt.value).Elem(), &n, 0)
		toProto(tt.message, tt.value)
		b, err := proto.Marshal(tt.message)
		if err != nil {
			t.Fatal(err)
		}
		over := tt.message.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, over); err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(tt.value).Elem())
		if err := fromProto(got.Interface(), over); err != nil {
			t.Fatal(err)
		}
		want, _ := json.MarshalIndent(tt.value, "", " ")
		have, _ := json.MarshalIndent(got.Interface(), "", " ")
		if string(want) != string(have) {
			t.Errorf("%T: sent\n%s\ngot\n%s", tt.value, want, have)
		}
		// And every field of the message has its field in Go.
		f := tt.message.ProtoReflect().Descriptor().Fields()
		for i := range f.Len() {
			if !tt.message.ProtoReflect().Has(f.Get(i)) {
				t.Errorf("%T: nothing sets %s", tt.message, f.Get(i).Name())
			}
		}
	}
}
