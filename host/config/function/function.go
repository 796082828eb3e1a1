// Package function holds the functions of the configuration language: those
// that people know from other HCL tools, and a few that reach outside, whose
// results are secret. Every result is bounded.
package function

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	yaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// mark marks a value that must not be shown.
type mark string

// Secret is the mark of values that must not be shown.
const Secret = mark("secret")

// Outside is what functions may see of the world.
type Outside struct {
	Dir     string            // relative paths start here
	Env     map[string]string // for env()
	OnValue func(string)      // told of every secret, so that messages can be searched for it; may be nil
}

// Reaches reports whether a function reads something outside of the
// configuration. Each is read once: what is read later, by a route for example,
// is what was there when the configuration was read.
func Reaches(name string) bool { return name == "env" || name == "file" || name == "credential" }

// Marks reports whether what a function returns is secret.
func Marks(name string) bool { return Reaches(name) || name == "secret" }

// All returns the functions by name.
func All(o Outside) map[string]function.Function {
	all := map[string]function.Function{
		// Numbers.
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "log": stdlib.LogFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc,
		"signum": stdlib.SignumFunc,
		// Strings.
		"chomp": stdlib.ChompFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc,
		"indent": stdlib.IndentFunc, "join": stdlib.JoinFunc, "lower": stdlib.LowerFunc, "regex": stdlib.RegexFunc,
		"regexall": stdlib.RegexAllFunc, "regexreplace": stdlib.RegexReplaceFunc, "replace": stdlib.ReplaceFunc,
		"split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
		"startswith": stringTest(strings.HasPrefix), "endswith": stringTest(strings.HasSuffix),
		"strcontains": stringTest(strings.Contains),
		// Collections.
		"chunklist": stdlib.ChunklistFunc, "coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc,
		"compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
		"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
		"keys": stdlib.KeysFunc, "length": length, "lookup": stdlib.LookupFunc, "merge": stdlib.MergeFunc,
		"range": stdlib.RangeFunc, "reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc,
		"setproduct": stdlib.SetProductFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc,
		"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
		"alltrue": allTrue, "anytrue": anyTrue, "index": index, "one": one, "sum": sumFunc,
		// Types.
		"can": tryfunc.CanFunc, "try": tryfunc.TryFunc, "tobool": stdlib.MakeToFunc(cty.Bool),
		"tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)), "tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
		"tonumber": stdlib.MakeToFunc(cty.Number), "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring": stdlib.MakeToFunc(cty.String),
		// Encodings and hashes.
		"base64decode": text("value", decodeBase64), "base64encode": text("value", encodeBase64),
		"csvdecode": stdlib.CSVDecodeFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"md5": hashed(md5.New), "sha1": hashed(sha1.New), "sha256": hashed(sha256.New), "sha512": hashed(sha512.New),
		"urlencode":  text("value", func(s string) (string, error) { return url.QueryEscape(s), nil }),
		"yamldecode": yaml.YAMLDecodeFunc, "yamlencode": yaml.YAMLEncodeFunc,
		// Networks.
		"cidrhost": cidrHost, "cidrnetmask": cidrNetmask, "cidrsubnet": cidrSubnet,
		// Times. There is no timestamp(): a configuration means the same at each look.
		"formatdate": stdlib.FormatDateFunc, "timeadd": stdlib.TimeAddFunc,
		// Paths.
		"abspath":  text("path", func(p string) (string, error) { return o.path(p), nil }),
		"basename": text("path", func(p string) (string, error) { return filepath.Base(p), nil }),
		"dirname":  text("path", func(p string) (string, error) { return filepath.Dir(p), nil }),
		// Outside. What they return is secret.
		"env": o.outside("name", o.env), "file": o.outside("path", o.file), "credential": o.outside("name", o.credential),
		"secret": o.secret("value", func(s string) (string, error) { return s, nil }), "nonsecret": nonsecret,
	}
	for name, f := range all {
		all[name] = bound(name, f)
	}
	return all
}

func stringTest(f func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "string", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

func text(param string, f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			return cty.StringVal(s), err
		},
	})
}

// once remembers what was read.
type once struct {
	mu   sync.RWMutex
	read map[string]reading
}

type reading struct {
	text string
	err  error
}

func (o *once) get(arg string, f func(string) (string, error)) (string, error) {
	o.mu.RLock()
	r, ok := o.read[arg]
	o.mu.RUnlock()
	if !ok {
		r.text, r.err = f(arg)
		o.mu.Lock()
		o.read[arg] = r
		o.mu.Unlock()
	}
	return r.text, r.err
}

// outside is secret for what is read outside of the configuration.
func (o Outside) outside(param string, f func(string) (string, error)) function.Function {
	known := &once{read: map[string]reading{}}
	return o.secret(param, func(s string) (string, error) { return known.get(s, f) })
}

// secret is text whose result is marked.
func (o Outside) secret(param string, f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			if err != nil {
				return cty.NilVal, err
			}
			if o.OnValue != nil {
				o.OnValue(s)
			}
			return cty.StringVal(s).Mark(Secret), nil
		},
	})
}

// nonsecret takes the mark off, for values that only came from a secret place.
var nonsecret = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowMarked: true, AllowNull: true, AllowUnknown: true, AllowDynamicType: true}},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v, _ := args[0].UnmarkDeep()
		return v, nil
	},
})

func (o Outside) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(o.Dir, p)
}

func (o Outside) env(name string) (string, error) {
	v, ok := o.Env[name]
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set; try(env(%q), \"default\") gives a default", name, name)
	}
	return v, nil
}

func (o Outside) file(path string) (string, error) {
	st, err := os.Stat(o.path(path)) // opening a FIFO would wait for its writer
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if st.Size() > maxFile {
		return "", fmt.Errorf("%s has %d bytes; at most %d are read", path, st.Size(), maxFile)
	}
	f, err := os.Open(o.path(path))
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%s is not UTF-8 text", path)
	}
	return string(b), nil
}

func (o Outside) credential(name string) (string, error) {
	dir, ok := o.Env["CREDENTIALS_DIRECTORY"]
	if !ok {
		return "", errors.New("there are no credentials: the service manager sets $CREDENTIALS_DIRECTORY (LoadCredential= in a systemd unit)")
	}
	if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return "", fmt.Errorf("%q is not the name of a credential", name)
	}
	return o.file(filepath.Join(dir, name))
}

func hashed(make func() hash.Hash) function.Function {
	return text("value", func(s string) (string, error) {
		h := make()
		_, _ = io.WriteString(h, s) // a hash takes everything
		return hex.EncodeToString(h.Sum(nil)), nil
	})
}

func encodeBase64(s string) (string, error) {
	return base64.StdEncoding.EncodeToString([]byte(s)), nil
}

func decodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", errors.New("it is not base64")
	}
	if !utf8.Valid(b) {
		return "", errors.New("what it encodes is not UTF-8 text")
	}
	return string(b), nil
}
