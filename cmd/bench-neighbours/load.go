package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// load sends requests at a rate, whether earlier ones were answered or not, and
// measures each from when it was due.
type load struct {
	url    string
	rate   int // a second
	client *http.Client
}

func newLoad(url string, rate int) *load {
	return &load{url: url, rate: rate, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

// run sends for a while and returns the latency that 99 of 100 requests do not
// exceed, and how many were not answered as they should be.
func (l *load) run(ctx context.Context, d time.Duration) (p50, p99 time.Duration, failed int, err error) {
	n := int(d.Seconds() * float64(l.rate))
	took := make([]time.Duration, n)
	wrong := make([]error, n)
	var all sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return 0, 0, 0, ctx.Err()
		}
		all.Go(func() {
			wrong[i] = l.ask(ctx)
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	for _, e := range wrong {
		if e != nil {
			failed++
			err = e
		}
	}
	slices.Sort(took)
	return took[n/2], took[n-1-n/100], failed, err
}

func (l *load) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, http.NoBody)
	if err != nil {
		return err
	}
	r, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return err
}
