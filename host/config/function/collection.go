package function

import (
	"errors"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// sum adds the numbers of a list.
var sumFunc = over(cty.Number, func(list []cty.Value) (cty.Value, error) {
	total := cty.Zero
	for _, x := range list {
		total = total.Add(x)
	}
	return total, nil
})

// allTrue and anyTrue are what && and || make of a list.
var (
	allTrue = over(cty.Bool, func(list []cty.Value) (cty.Value, error) {
		v := cty.True
		for _, x := range list {
			v = v.And(x)
		}
		return v, nil
	})
	anyTrue = over(cty.Bool, func(list []cty.Value) (cty.Value, error) {
		v := cty.False
		for _, x := range list {
			v = v.Or(x)
		}
		return v, nil
	})
)

// over is a function of a list whose elements are, or can be made, of one type,
// which is that of the result.
func over(t cty.Type, f func([]cty.Value) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(t),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := convert.Convert(args[0], cty.List(t))
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "a list of %s is wanted", t.FriendlyName())
			}
			var list []cty.Value
			for it := v.ElementIterator(); it.Next(); {
				_, x := it.Element()
				if x.IsNull() {
					return cty.NilVal, function.NewArgErrorf(0, "an element is null")
				}
				list = append(list, x)
			}
			return f(list)
		},
	})
}

// one is the element of a list that has one, or null of one that has none.
var one = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
	Type: func(args []cty.Value) (cty.Type, error) {
		switch t := args[0].Type(); {
		case t.IsListType() || t.IsSetType():
			return t.ElementType(), nil
		case t.IsTupleType() && t.Length() == 1:
			return t.TupleElementType(0), nil
		case t.IsTupleType() && t.Length() == 0:
			return cty.DynamicPseudoType, nil
		}
		return cty.NilType, function.NewArgErrorf(0, "a list of at most one element is wanted")
	},
	Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
		switch args[0].LengthInt() {
		case 0:
			return cty.NullVal(t), nil
		case 1:
			return args[0].AsValueSlice()[0], nil
		}
		return cty.NilVal, function.NewArgErrorf(0, "a list of at most one element is wanted")
	},
})

// index is where a value stands in a list.
var index = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}, {Name: "value", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if t := args[0].Type(); !t.IsListType() && !t.IsTupleType() {
			return cty.NilVal, function.NewArgErrorf(0, "a list is wanted")
		}
		for i, x := range args[0].AsValueSlice() {
			if eq := x.Equals(args[1]); eq.IsKnown() && eq.True() {
				return cty.NumberIntVal(int64(i)), nil
			}
		}
		return cty.NilVal, errors.New("the list does not have the value")
	},
})

// length counts the elements of a collection, or the characters of a string.
var length = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true, AllowMarked: true}},
	Type: func(args []cty.Value) (cty.Type, error) {
		if args[0].Type() == cty.String {
			return cty.Number, nil
		}
		return stdlib.LengthFunc.ReturnTypeForValues(args)
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].Type() == cty.String {
			return stdlib.StrlenFunc.Call(args)
		}
		return stdlib.LengthFunc.Call(args)
	},
})
