//go:build !linux

package host

import "runtime"

// yield lets other goroutines that are ready to run go first.
func yield() { runtime.Gosched() }
