package launch

import "testing"

func TestLastWords(t *testing.T) {
	for _, c := range []struct {
		stderr []string
		want   string
	}{
		{nil, ""},
		{[]string{"one"}, "; its last words: one"},
		{[]string{"one", "two", "three", "four"}, "; its last words: two | three | four"},
		{[]string{"starting", "panic: no more paper", "goroutine 7 [running]:", "main.main()", "\t/main.go:83 +0x25", "exit status 2"}, "; its last words: panic: no more paper"},
		{[]string{"fatal error: all goroutines are asleep - deadlock!", "goroutine 1 [select]:", "main.main()", "\t/main.go:1"}, "; its last words: fatal error: all goroutines are asleep - deadlock!"},
	} {
		if got := LastWords(c.stderr); got != c.want {
			t.Errorf("%q: %q", c.stderr, got)
		}
	}
}
