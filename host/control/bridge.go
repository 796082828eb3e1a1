package control

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The messages of control.proto mirror the Go values that the backend answers
// with: a field of a message has the name that the Go field has in JSON. The
// functions here copy between the two by those names, so that neither side is
// written twice; a test copies values with every field set there and back.

// toProto copies a Go struct into a message.
func toProto(dst proto.Message, src any) { writeMessage(dst.ProtoReflect(), reflect.ValueOf(src)) }

// fromProto copies a message into the Go struct that dst points to.
func fromProto(dst any, src proto.Message) error {
	return readMessage(reflect.ValueOf(dst).Elem(), src.ProtoReflect())
}

// fields calls f for the fields of a struct that JSON would show.
func fields(v reflect.Value, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		t := v.Type().Field(i)
		name, _, _ := strings.Cut(t.Tag.Get("json"), ",")
		switch {
		case t.Anonymous && name == "":
			fields(v.Field(i), f)
		case name != "" && name != "-":
			f(name, v.Field(i))
		}
	}
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

func writeMessage(m protoreflect.Message, v reflect.Value) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	fields(v, func(name string, v reflect.Value) {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			panic(fmt.Sprintf("control.proto: %s has no field %s", m.Descriptor().Name(), name))
		}
		if v.IsZero() {
			return
		}
		if fd.IsList() {
			list := m.Mutable(fd).List()
			for i := range v.Len() {
				if fd.Message() != nil {
					writeMessage(list.AppendMutable().Message(), v.Index(i))
				} else {
					list.Append(scalar(fd, v.Index(i)))
				}
			}
			return
		}
		if v.Type() == timeType {
			m.Set(fd, protoreflect.ValueOfMessage(timestamppb.New(v.Interface().(time.Time)).ProtoReflect()))
			return
		}
		if fd.Message() != nil {
			writeMessage(m.Mutable(fd).Message(), v)
			return
		}
		m.Set(fd, scalar(fd, v))
	})
}

func scalar(fd protoreflect.FieldDescriptor, v reflect.Value) protoreflect.Value {
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, _ := t.MarshalText() // ids and codes cannot fail
		return protoreflect.ValueOfString(string(b))
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		if v.Type() == rawType {
			return protoreflect.ValueOfString(string(v.Bytes()))
		}
		return protoreflect.ValueOfString(strings.ToValidUTF8(v.String(), "\uFFFD"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.Bool())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(v.Int())
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(v.Uint())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(v.Uint()))
	}
	panic("control.proto: a field of kind " + fd.Kind().String())
}

func readMessage(v reflect.Value, m protoreflect.Message) (err error) {
	fields(v, func(name string, v reflect.Value) {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd == nil || err != nil || !m.Has(fd) {
			return
		}
		x := m.Get(fd)
		switch {
		case fd.IsList():
			list := x.List()
			v.Set(reflect.MakeSlice(v.Type(), list.Len(), list.Len()))
			for i := range list.Len() {
				if err == nil {
					err = readValue(v.Index(i), fd, list.Get(i))
				}
			}
		default:
			err = readValue(v, fd, x)
		}
	})
	return err
}

func readValue(v reflect.Value, fd protoreflect.FieldDescriptor, x protoreflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && fd.Kind() == protoreflect.StringKind {
		return t.UnmarshalText([]byte(x.String()))
	}
	switch {
	case v.Type() == timeType:
		if ts, ok := x.Message().Interface().(*timestamppb.Timestamp); ok {
			v.Set(reflect.ValueOf(ts.AsTime()))
		}
	case fd.Message() != nil:
		return readMessage(v, x.Message())
	case v.Type() == rawType:
		v.SetBytes([]byte(x.String()))
	case v.Kind() == reflect.String:
		v.SetString(x.String())
	case v.Kind() == reflect.Bool:
		v.SetBool(x.Bool())
	case v.Type() == durationType || v.CanInt():
		v.SetInt(x.Int())
	case v.CanUint():
		v.SetUint(x.Uint())
	default:
		return fmt.Errorf("a field of type %s cannot be read", v.Type())
	}
	return nil
}
