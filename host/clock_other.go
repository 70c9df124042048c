//go:build !linux

package host

import "github.com/kvd-db/kvd/kv"

func systemClock() (func() kv.Instant, bool) { return nil, false }
