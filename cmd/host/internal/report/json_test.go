package report

import "testing"

func TestReadable(t *testing.T) {
	for in, want := range map[string]string{
		`"\u003e "`:                    `"> "`,
		`{"a":["\u003cb\u0026",1.50]}`: `{"a":["<b&",1.50]}`,
		`"\\u003e"`:                    `"\\u003e"`, // a backslash, and what follows it
		`"\u0007"`:                     `"\u0007"`,
		`when x \u003e`:                `when x \u003e`,
		"http.a.b → c.d.e":             "http.a.b → c.d.e",
		"":                             "",
	} {
		if got := readable(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
