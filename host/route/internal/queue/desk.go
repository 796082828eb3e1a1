package queue

// What an instance can ask for at most.
const (
	MaxCredit   = 1 << 20
	MaxInFlight = 1 << 16
)

// Desk is where an attached instance takes deliveries: what it may have.
type Desk[I any] struct {
	Of      *I
	Address string
	Version string   // of the plugin
	Actions []string // names by index

	Credit   int
	InFlight int
	Capacity int  // the most that it ever took at once
	Stopped  bool // gets nothing new
	Broken   bool // what is sent there does not arrive
	Closed   bool
}

// Open reports whether one more delivery may be handed out.
func (k *Desk[I]) Open() bool {
	return k.Credit > 0 && k.InFlight < MaxInFlight && !k.Stopped && !k.Broken
}

// Give adds credit.
func (k *Desk[I]) Give(n uint32) {
	k.Credit = min(k.Credit+int(n), MaxCredit)
	k.Capacity = max(k.Capacity, k.Credit+k.InFlight)
}

// Spend notes that a delivery was handed out.
func (k *Desk[I]) Spend() {
	k.Credit--
	k.InFlight++
}
