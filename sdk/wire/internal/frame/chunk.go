package frame

import (
	"sync"
	"sync/atomic"
)

// Pool has the buffers that Readers share with those who hold what was read.
// It is bounded: where too many are held, a Reader reads into memory of its own
// and nothing of that can be held.
type Pool struct {
	most int64
	out  atomic.Int64 // chunks that somebody holds
	free sync.Pool    // of *Chunk
}

// NewPool returns a pool of which at most so many bytes are held, about.
func NewPool(bytes int) *Pool { return &Pool{most: int64(max(bytes/readBuffer, 1))} }

// Held is how many bytes are held.
func (p *Pool) Held() int { return int(p.out.Load()) * readBuffer }

// room reports whether take would return one, about.
func (p *Pool) room() bool { return p.out.Load() < p.most }

// take returns a chunk with one holder, or nil when too many are held.
func (p *Pool) take() *Chunk {
	if p.out.Add(1) > p.most {
		p.out.Add(-1)
		return nil
	}
	c, _ := p.free.Get().(*Chunk)
	if c == nil {
		c = &Chunk{pool: p, bytes: make([]byte, readBuffer)}
	}
	c.holders.Store(1)
	return c
}

// Chunk is a buffer with what was read. It is used again when its last holder
// has released it.
type Chunk struct {
	pool    *Pool
	bytes   []byte
	kept    bool // somebody has a part for good: it is not used again; the reader's
	holders atomic.Int32
}

// hold adds a holder. Only a holder may.
func (c *Chunk) hold() { c.holders.Add(1) }

// alone reports whether its caller is the only holder.
func (c *Chunk) alone() bool { return c.holders.Load() == 1 && !c.kept }

// Release ends one hold. What stands in the chunk is then not the caller's to
// read any more.
func (c *Chunk) Release() {
	switch n := c.holders.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("a buffer of a lane was released by somebody who did not hold it")
	}
	c.pool.out.Add(-1)
	if !c.kept {
		c.spoil(len(c.bytes))
		c.pool.free.Put(c)
	}
}

// poison is what the first n bytes of a chunk that nobody holds any more are
// filled with, where Poison says so: who reads them all the same sees it, and so
// does the race detector.
const poison = 0xdb

func (c *Chunk) spoil(n int) {
	if Poison {
		for i := range c.bytes[:n] {
			c.bytes[i] = poison
		}
	}
}
