package function_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/function"
)

func eval(t *testing.T, o function.Outside, src string) (cty.Value, error) {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(src, diags)
	}
	v, diags := e.Value(&hcl.EvalContext{Functions: function.All(o)})
	if diags.HasErrors() {
		return v, diags
	}
	return v, nil
}

// What people know from other tools gives here what it gives there.
func TestFunctions(t *testing.T) {
	for src, want := range map[string]string{
		`abs(-3)`: `3`, `ceil(1.2)`: `2`, `floor(1.8)`: `1`, `max(1, 3, 2)`: `3`, `min(1, 3)`: `1`, `parseint("ff", 16)`: `255`,
		`pow(2, 10)`: `1024`, `signum(-7)`: `-1`, `log(8, 2)`: `3`, `sum([1, 2.5])`: `3.5`,
		`chomp("a\n")`: `"a"`, `format("%s is %03d", "x", 7)`: `"x is 007"`, `formatlist("%s!", ["a", "b"])`: `["a!","b!"]`,
		`indent(2, "a\nb")`: `"a\n  b"`, `join("-", ["a", "b"])`: `"a-b"`, `lower("AÄ")`: `"aä"`, `upper("aä")`: `"AÄ"`,
		`regex("[a-z]+", "12ab")`: `"ab"`, `regexall("[a-z]", "1a2b")`: `["a","b"]`, `regexreplace("a1b2", "[0-9]", "($0)")`: `"a(1)b(2)"`,
		`replace("a.b.c", ".", "-")`: `"a-b-c"`, `split(",", "a,b")`: `["a","b"]`, `strrev("abc")`: `"cba"`, `substr("hello", 1, 3)`: `"ell"`,
		`title("a b")`: `"A B"`, `trim("xxaxx", "x")`: `"a"`, `trimprefix("ab", "a")`: `"b"`, `trimsuffix("ab", "b")`: `"a"`, `trimspace(" a ")`: `"a"`,
		`startswith("abc", "ab")`: `true`, `endswith("abc", "bc")`: `true`, `strcontains("abc", "d")`: `false`,
		`chunklist([1, 2, 3], 2)`: `[[1,2],[3]]`, `coalesce(null, "", "b")`: `""`, `coalescelist([], ["a"])`: `["a"]`, `compact(["a", "", "b"])`: `["a","b"]`,
		`concat([1], [2])`: `[1,2]`, `contains(["a"], "a")`: `true`, `distinct(["a", "a"])`: `["a"]`, `element(["a", "b"], 3)`: `"b"`,
		`flatten([[1], [[2]]])`: `[1,2]`, `keys({ b = 1, a = 2 })`: `["a","b"]`, `values({ b = 1, a = 2 })`: `[2,1]`, `length("äb")`: `2`, `length([1])`: `1`,
		`lookup({ a = 1 }, "b", 2)`: `2`, `merge({ a = 1 }, { b = 2 })`: `{"a":1,"b":2}`, `range(3)`: `[0,1,2]`, `reverse([1, 2])`: `[2,1]`,
		`setunion(["a"], ["b"])`: `["a","b"]`, `setintersection(["a", "b"], ["b"])`: `["b"]`, `setsubtract(["a", "b"], ["b"])`: `["a"]`,
		`setproduct(["a"], ["b", "c"])`: `[["a","b"],["a","c"]]`, `slice([1, 2, 3], 1, 2)`: `[2]`, `sort(["b", "a"])`: `["a","b"]`, `zipmap(["a"], [1])`: `{"a":1}`,
		`alltrue([true, false])`: `false`, `alltrue([])`: `true`, `anytrue(["true", false])`: `true`, `anytrue([])`: `false`, `index(["a", "b"], "b")`: `1`,
		`one([])`: `null`, `one(["a"])`: `"a"`, `one(toset(["a"]))`: `"a"`,
		`can(tonumber("x"))`: `false`, `try(tonumber("x"), 0)`: `0`, `tobool("true")`: `true`, `tolist(["a"])`: `["a"]`, `tomap({ a = 1 })`: `{"a":1}`,
		`tonumber("1.5")`: `1.5`, `toset(["b", "a", "b"])`: `["a","b"]`, `tostring(1)`: `"1"`,
		`base64encode("hi")`: `"aGk="`, `base64decode("aGk=")`: `"hi"`, `csvdecode("a,b\n1,2")`: `[{"a":"1","b":"2"}]`,
		`jsondecode("{\"a\":[1]}")`: `{"a":[1]}`, `jsonencode({ a = [1] })`: `"{\"a\":[1]}"`, `yamldecode("a: [1]")`: `{"a":[1]}`, `yamlencode({ a = 1 })`: `"\"a\": 1\n"`,
		`md5("x")`: `"9dd4e461268c8034f5c8564e155c67a6"`, `sha1("x")`: `"11f6ad8ec52a2984abaafd7c3b516503785c2072"`,
		`sha256("x")`: `"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"`, `length(sha512("x"))`: `128`,
		`urlencode("a b&c")`: `"a+b%26c"`, `formatdate("YYYY", "2026-01-02T03:04:05Z")`: `"2026"`, `timeadd("2026-01-02T03:04:05Z", "1h")`: `"2026-01-02T04:04:05Z"`,
		`basename("/a/b")`: `"b"`, `dirname("/a/b")`: `"/a"`, `abspath("x")`: `"/dir/x"`,
		`cidrhost("10.1.2.0/24", 5)`: `"10.1.2.5"`, `cidrhost("10.1.2.77/24", -1)`: `"10.1.2.255"`, `cidrhost("2001:db8::/64", 10)`: `"2001:db8::a"`,
		`cidrsubnet("10.0.0.0/8", 8, 3)`: `"10.3.0.0/16"`, `cidrsubnet("2001:db8::/32", 16, 255)`: `"2001:db8:ff::/48"`, `cidrnetmask("10.0.0.0/12")`: `"255.240.0.0"`,
		`nonsecret(env("A"))`: `"value of A"`,
	} {
		v, err := eval(t, function.Outside{Dir: "/dir", Env: map[string]string{"A": "value of A"}}, src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		b, err := ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
		if err != nil || string(b) != want {
			t.Errorf("%s is %s (%v), want %s", src, b, err, want)
		}
	}
	for src, want := range map[string]string{
		`cidrhost("10.1.2.0/24", 256)`: "no address", `cidrhost("10.1.2.0", 1)`: "not a prefix", `cidrsubnet("10.0.0.0/8", 25, 0)`: "from 0 to 24",
		`cidrsubnet("10.0.0.0/8", 2, 4)`: "at most 2 bits", `cidrnetmask("2001:db8::/32")`: "IPv4", `one([1, 2])`: "at most one", `sum(["x"])`: "a list of number",
		`index(["a"], "b")`: "does not have", `base64decode("?")`: "not base64", `base64decode("/w==")`: "not UTF-8", `env("B")`: "B is not set",
		`credential("x")`: "LoadCredential", `file("missing")`: "no such file",
	} {
		if v, err := eval(t, function.Outside{Dir: "/dir", Env: map[string]string{}}, src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %#v, %v; want %q", src, v, err, want)
		}
	}
}

// What comes from outside is secret, and so is all that is made of it.
func TestOutside(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "from a file", "binary": "\xff\xfe", "cred": "from a credential", "large": strings.Repeat("x", 1<<20+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	o := function.Outside{Dir: dir, Env: map[string]string{"A": "from the environment", "CREDENTIALS_DIRECTORY": dir}, OnValue: func(s string) { told = append(told, s) }}
	for src, want := range map[string]string{
		`env("A")`: "from the environment", `file("secret")`: "from a file", `credential("cred")`: "from a credential", `secret("x")`: "x",
		`upper(file("secret"))`: "FROM A FILE", `"<${env("A")}>"`: "<from the environment>", `jsondecode(jsonencode([file("secret")]))[0]`: "from a file",
	} {
		v, err := eval(t, o, src)
		if err != nil {
			t.Error(src, err)
			continue
		}
		if !v.HasMark(function.Secret) {
			t.Errorf("%s is not secret", src)
		}
		if v, _ = v.Unmark(); v.AsString() != want {
			t.Errorf("%s is %q", src, v.AsString())
		}
	}
	if s := strings.Join(told, "|"); !strings.Contains(s, "from a file") || !strings.Contains(s, "from the environment") || !strings.Contains(s, "from a credential") {
		t.Error("told of", told)
	}
	for src, want := range map[string]string{
		`file("binary")`: "not UTF-8", `file("large")`: "at most", `file(".")`: "not a regular file", `file("/dev/zero")`: "not a regular file",
		`credential("../secret")`: "not the name of a credential", `credential("..")`: "not the name of a credential", `credential("")`: "not the name of a credential",
	} {
		if _, err := eval(t, o, src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

// A file is read once for one set of functions, however often it is asked for.
func TestReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := function.All(function.Outside{})
	read := func() string {
		v, err := all["file"].Call([]cty.Value{cty.StringVal(path)})
		if err != nil {
			t.Fatal(err)
		}
		v, _ = v.Unmark()
		return v.AsString()
	}
	write("first")
	if read() != "first" {
		t.Error("not the first")
	}
	write("second")
	if got := read(); got != "first" {
		t.Errorf("%q: it was read again", got)
	}
}
