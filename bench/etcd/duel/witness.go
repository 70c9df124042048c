package main

import (
	"context"
	"errors"
	"sync"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/kv"
)

// witness is a target that keeps the text of the first error of each kind: the harness counts
// errors and forgets what they say.
type witness struct {
	bench.Target
	mu    sync.Mutex
	first map[string]string // by kind
}

func newWitness(t bench.Target) *witness { return &witness{Target: t, first: map[string]string{}} }

// Unwrap implements bench.Wrapper.
func (w *witness) Unwrap() bench.Target { return w.Target }

// Describe implements bench.Describer.
func (w *witness) Describe() bench.Description {
	if d, ok := w.Target.(bench.Describer); ok {
		return d.Describe()
	}
	return bench.Description{}
}

// ErrorKind implements bench.Classifier.
func (w *witness) ErrorKind(err error) string {
	kind := errorKind(w.Target, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.first[kind]; !ok {
		w.first[kind] = err.Error()
	}
	return kind
}

// said is the text of the first error of a kind.
func (w *witness) said(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first[kind]
}

// errorKind names the kind of an error: as the target does, or as kvd does.
func errorKind(t bench.Target, err error) string {
	if c, ok := t.(bench.Classifier); ok {
		if kind := c.ErrorKind(err); kind != "" {
			return kind
		}
	}
	var e *kv.Error
	switch {
	case errors.Is(err, bench.ErrConflict):
		return "conflict"
	case errors.Is(err, bench.ErrNotFound):
		return "not found"
	case errors.As(err, &e):
		return e.Kind.String()
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "other"
}
