package route

// node is a place in a list. A delivery has two: line, in the one list that
// its state names, and age, in its route's waiting list.
type node struct {
	prev, next *node
	d          *delivery
}

// list is a doubly linked list through the deliveries themselves, so that
// queueing allocates nothing and anything can leave from the middle.
type list struct{ head, tail *node }

func (l *list) pushBack(n *node) {
	n.prev, n.next = l.tail, nil
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

func (l *list) pushFront(n *node) {
	n.prev, n.next = nil, l.head
	if l.head == nil {
		l.tail = n
	} else {
		l.head.prev = n
	}
	l.head = n
}

func (l *list) remove(n *node) {
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
