//go:build !race

package frame

// Poison has what is released overwritten.
var Poison = false
