//go:build !linux

package cluster

import "syscall"

// Attributes are the usual ones: only Linux can tie a process to the life of another.
func Attributes() *syscall.SysProcAttr { return nil }
