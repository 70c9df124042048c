//go:build !linux

package bench

// read is for Linux only: elsewhere a result has no resources.
func (m *usageMeter) read() *Usage { return nil }

func devicePath(string) string { return "" }
