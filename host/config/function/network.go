package function

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/gocty"
)

// cidrHost is the number-th address of a prefix; negative numbers count from
// its end.
var cidrHost = prefixFunc([]function.Parameter{{Name: "hostnum", Type: cty.Number}},
	func(p netip.Prefix, args []cty.Value) (string, error) {
		n, acc := args[0].AsBigFloat().Int(nil)
		if acc != big.Exact {
			return "", errors.New("hostnum is a whole number")
		}
		size := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
		if n.Sign() < 0 {
			n.Add(n, size)
		}
		if n.Sign() < 0 || n.Cmp(size) >= 0 {
			return "", fmt.Errorf("%s has no address of that number", p)
		}
		return at(p, n).String(), nil
	})

// cidrSubnet is the netnum-th of the prefixes that have newbits more bits.
var cidrSubnet = prefixFunc([]function.Parameter{{Name: "newbits", Type: cty.Number}, {Name: "netnum", Type: cty.Number}},
	func(p netip.Prefix, args []cty.Value) (string, error) {
		var more int
		if err := gocty.FromCtyValue(args[0], &more); err != nil || more < 0 || p.Bits()+more > p.Addr().BitLen() {
			return "", fmt.Errorf("newbits is a whole number from 0 to %d", p.Addr().BitLen()-p.Bits())
		}
		n, acc := args[1].AsBigFloat().Int(nil)
		if acc != big.Exact || n.Sign() < 0 || n.BitLen() > more {
			return "", fmt.Errorf("netnum is a whole number of at most %d bits", more)
		}
		n.Lsh(n, uint(p.Addr().BitLen()-p.Bits()-more))
		return netip.PrefixFrom(at(p, n), p.Bits()+more).String(), nil
	})

// cidrNetmask is the mask of an IPv4 prefix.
var cidrNetmask = prefixFunc(nil, func(p netip.Prefix, _ []cty.Value) (string, error) {
	if !p.Addr().Is4() {
		return "", errors.New("only IPv4 has netmasks")
	}
	var b [4]byte
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b).String(), nil
})

// at is the first address of a prefix, plus n.
func at(p netip.Prefix, n *big.Int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), n)
	a, _ := netip.AddrFromSlice(sum.FillBytes(b)) // as long as it was
	return a
}

func prefixFunc(more []function.Parameter, f func(netip.Prefix, []cty.Value) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: append([]function.Parameter{{Name: "prefix", Type: cty.String}}, more...),
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, err := netip.ParsePrefix(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "%q is not a prefix such as 10.0.0.0/8", args[0].AsString())
			}
			s, err := f(p, args[1:])
			return cty.StringVal(s), err
		},
	})
}
