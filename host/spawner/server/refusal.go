package server

import (
	"errors"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/executable"
	"github.com/pluginhost/host/host/spawner/policy"
)

// refusal makes an answer of any error.
func refusal(err error) *spawner.Error {
	var rule *policy.RefusedError
	var exe *executable.RefusedError
	if errors.As(err, &rule) || errors.As(err, &exe) {
		return &spawner.Error{Kind: spawner.Refused, Message: err.Error()}
	}
	return spawner.ErrorOf(err)
}
