package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// sized is a reload time by server and size.
type sized struct {
	server string
	size   int
	sizeTimes
}

func measureSizes(ctx context.Context, o options) ([]sized, error) {
	if len(o.sizes) == 0 {
		return nil, nil
	}
	fmt.Printf("\none of many instances (server blocks) changes, each with a port of its own; medians of %d\n%-6s %6s %10s %18s\n", o.rounds, "", "size", "reload", "phases after LOAD")
	var all []sized
	for _, size := range o.sizes {
		for _, name := range o.servers {
			t, err := measureSize(ctx, o, name, size)
			if errors.Is(err, errNotMeasured) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s with %d: %w", name, size, err)
			}
			phases := "-"
			if t.phases > 0 {
				phases = millis(t.phases)
			}
			fmt.Printf("%-6s %6d %10s %18s\n", name, size, millis(t.whole), phases)
			all = append(all, sized{name, size, t})
		}
	}
	return all, nil
}

func measureSize(ctx context.Context, o options, name string, size int) (sizeTimes, error) {
	s, _, err := place(o, name)
	if err != nil {
		return sizeTimes{}, err
	}
	defer s.stop()
	if err := s.many(ctx, size); err != nil {
		return sizeTimes{}, err
	}
	var whole, phases []time.Duration
	for n := range o.rounds {
		t, err := s.one(ctx, n+1)
		if err != nil {
			return t, err
		}
		whole, phases = append(whole, t.whole), append(phases, t.phases)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
	return sizeTimes{median(whole), median(phases)}, nil
}
