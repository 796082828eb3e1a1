package line

// Queue holds what waits, in the order in which it came. In an ordered queue
// what has the same key goes one after the other: the next is held until the
// one before is done with, also while that is out or rests. What has no key
// waits for nobody. The zero Queue is empty and not ordered.
type Queue[T any] struct {
	ready List[T]            // may be taken
	all   List[T]            // by age: ready, held and resting
	keys  map[string]*row[T] // in use, also in queues that follow each other; nil when not ordered
}

// row is what has one key.
type row[T any] struct {
	first *Waiter[T] // whose turn it is, in the queue or out of it
	held  List[Waiter[T]]
}

// Waiter is a place in a queue, a part of what waits.
type Waiter[T any] struct {
	key   string
	in    *Queue[T]
	where where
	stand Node[T]         // in ready
	age   Node[T]         // in all
	hold  Node[Waiter[T]] // in held
}

type where uint8

const (
	out where = iota
	held
	ready
	resting
)

// Init says what waits here, and with which key.
func (w *Waiter[T]) Init(of *T, key string) {
	w.stand.Of, w.age.Of, w.hold.Of, w.key = of, of, w, key
}

// Held reports whether it waits for another of its key.
func (w *Waiter[T]) Held() bool { return w.where == held }

// Resting reports whether it waits for Wake.
func (w *Waiter[T]) Resting() bool { return w.where == resting }

// Order makes an empty queue ordered.
func (q *Queue[T]) Order() { q.keys = map[string]*row[T]{} }

// Follow makes an empty queue ordered behind another, if that is: what has the
// same key waits in either for what came before in either.
func (q *Queue[T]) Follow(before *Queue[T]) {
	if before.keys != nil {
		q.keys = before.keys
	}
}

// Ordered reports whether the queue is ordered.
func (q *Queue[T]) Ordered() bool { return q.keys != nil }

// Len returns how many wait.
func (q *Queue[T]) Len() int { return q.all.n }

// First returns what may be taken next, or nil.
func (q *Queue[T]) First() *T { return q.ready.First() }

// Oldest returns what has waited longest, ready or not, or nil.
func (q *Queue[T]) Oldest() *T { return q.all.First() }

// Head returns the oldest one's node in the list of all, for those who walk it.
func (q *Queue[T]) Head() *Node[T] { return q.all.Head() }

// Push adds a waiter at the end.
func (q *Queue[T]) Push(w *Waiter[T]) {
	w.in = q
	q.all.PushBack(&w.age)
	if q.keys != nil && w.key != "" {
		r := q.keys[w.key]
		if r != nil {
			w.where = held
			r.held.PushBack(&w.hold)
			return
		}
		q.keys[w.key] = &row[T]{first: w}
	}
	w.where = ready
	q.ready.PushBack(&w.stand)
}

// Return puts back what was taken, before all others: ready, or resting until
// Wake. It is still its key's turn.
func (q *Queue[T]) Return(w *Waiter[T], rest bool) {
	q.all.PushFront(&w.age)
	w.where = resting
	if !rest {
		q.Wake(w)
	}
}

// Wake makes a resting waiter ready, before those that came later.
func (q *Queue[T]) Wake(w *Waiter[T]) {
	w.where = ready
	q.ready.PushFront(&w.stand)
}

// Take takes a waiter out, wherever it stands; it keeps its key's turn if it
// has it. Nothing happens when it is out already.
func (q *Queue[T]) Take(w *Waiter[T]) {
	switch w.where {
	case out:
		return
	case held:
		q.keys[w.key].held.Remove(&w.hold)
	case ready:
		q.ready.Remove(&w.stand)
	}
	w.where = out
	q.all.Remove(&w.age)
}

// Done ends the turn of a waiter that is out, so that the next of its key is
// ready: behind what is ready now, since keys take turns. That one may wait in
// another queue; it is nil where there is none.
func (q *Queue[T]) Done(w *Waiter[T]) (after *T) {
	if q.keys == nil || w.key == "" {
		return nil
	}
	r := q.keys[w.key]
	if r == nil || r.first != w {
		return nil
	}
	next := r.held.First()
	if next == nil {
		delete(q.keys, w.key)
		return nil
	}
	r.held.Remove(&next.hold)
	r.first = next
	next.where = ready
	next.in.ready.PushBack(&next.stand)
	return next.stand.Of
}
