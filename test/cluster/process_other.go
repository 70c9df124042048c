//go:build !linux

package cluster

import "syscall"

// attributes are the usual ones: only Linux can tie a process to the life of another.
func attributes() *syscall.SysProcAttr { return nil }
