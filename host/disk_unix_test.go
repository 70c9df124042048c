//go:build unix

package host

import "syscall"

func diskFullError() error { return syscall.ENOSPC }
