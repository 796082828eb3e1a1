// Package promise holds the future outcome of one event: pending, then
// resolved or rejected, once. It knows nothing of routes.
package promise
