package expression

import "testing"

func TestFold(t *testing.T) {
	for src, want := range map[string]string{
		`"order ${try(event.data.id, "?")}"`:                  `"order ${try(event.data.id, "?")}"`,
		"{ a   = 1 # one\n  b=upper( event.data.x )  }":       `{ a = 1 b = upper(event.data.x) }`,
		`event.data.total>0&&! ( event.data . note == null )`: `event.data.total > 0 && !(event.data.note == null)`,
		`[ for x in event.data.list : x [ 0 ] ]`:              `[for x in event.data.list : x[0]]`,
		`"${a}-${b}${c}  d"`:                                  `"${a}-${b}${c}  d"`,
	} {
		if got := Fold([]byte(src)); got != want {
			t.Errorf("%s\nis  %s\nnot %s", src, got, want)
		}
	}
}
