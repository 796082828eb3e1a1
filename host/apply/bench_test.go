package apply_test

import (
	"fmt"
	"testing"

	"github.com/pluginhost/host/host/apply"
)

// One changed instance, beside few and beside many: what a reload costs after
// its load.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMachine(b)
			p := plain{Instances: map[string]inst{}, Routes: map[string]string{}}
			for i := range n {
				p.Instances[fmt.Sprintf("p.i%05d", i)] = inst{Value: "0", Digest: "d", Listen: fmt.Sprintf("tcp://127.0.0.1:%d", 1000+i)}
				p.Routes[fmt.Sprintf("r%05d", i)] = fmt.Sprintf("from p.i%05d.event to p.i%05d.action when event.data.x > 1", i, i)
			}
			m.write(p)
			a, _ := m.applier()
			if r, err := a.Boot(b.Context(), me, 0); err != nil || r.Outcome != apply.Committed {
				b.Fatal(r, err)
			}
			configs := [2]*loaded{}
			for i := range configs {
				p.Instances["p.i00003"] = inst{Value: fmt.Sprint(i), Digest: "d", Listen: "tcp://127.0.0.1:1003"}
				m.write(p)
				c := decode(m.disk)
				for x := range c.Instances { // as config.Build does
					c.Instances[x].Print = string(c.Instances[x].Config) + c.Instances[x].Digest
				}
				configs[i] = &loaded{apply.Loaded{Config: c, Source: source(fmt.Append(nil, i))}}
			}
			i := 0
			m.loads = func() apply.Loaded { i++; return configs[i%2].Loaded }
			b.ResetTimer()
			for b.Loop() {
				r, err := a.Reload(b.Context(), apply.Request{Who: me, Wait: true}, nil)
				if err != nil || r.Outcome != apply.Committed {
					b.Fatal(r, err)
				}
			}
		})
	}
}

type loaded struct{ apply.Loaded }
