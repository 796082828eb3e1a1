//go:build race

package route

// raced says that pools give things up at random, as they do for the race
// detector.
const raced = true
