// Package line holds the two ways in which deliveries wait: one behind the
// other in a List, and for a moment in a Heap. Both run through what waits, so
// that queueing allocates nothing and anything can leave from the middle. They
// lock nothing: the router does.
package line

// Node is a place in a list, a part of what stands in it.
type Node[T any] struct {
	Of   *T // what stands here
	next *Node[T]
	prev *Node[T]
}

// Next returns the node behind, or nil.
func (n *Node[T]) Next() *Node[T] { return n.next }

// List is a doubly linked list. The zero List is empty.
type List[T any] struct {
	head, tail *Node[T]
	n          int
}

// Head returns the first node, or nil.
func (l *List[T]) Head() *Node[T] { return l.head }

// First returns what stands first, or nil.
func (l *List[T]) First() *T {
	if l.head == nil {
		return nil
	}
	return l.head.Of
}

// Len returns how many stand there.
func (l *List[T]) Len() int { return l.n }

// Empty reports whether nothing stands there.
func (l *List[T]) Empty() bool { return l.head == nil }

// PushBack puts a node that is in no list at the end.
func (l *List[T]) PushBack(n *Node[T]) {
	l.n++
	n.prev, n.next = l.tail, nil
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

// PushFront puts a node that is in no list at the head.
func (l *List[T]) PushFront(n *Node[T]) {
	l.n++
	n.prev, n.next = nil, l.head
	if l.head == nil {
		l.tail = n
	} else {
		l.head.prev = n
	}
	l.head = n
}

// Remove takes out a node of this list.
func (l *List[T]) Remove(n *Node[T]) {
	l.n--
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev, n.next = nil, nil
}
