package cluster

import "syscall"

// Attributes have the kernel kill the process when the test dies without a cleanup.
func Attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
