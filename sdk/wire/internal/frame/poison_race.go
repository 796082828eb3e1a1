//go:build race

package frame

// Poison has what is released overwritten: with the race detector it always is.
var Poison = true
