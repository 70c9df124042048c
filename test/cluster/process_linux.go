package cluster

import "syscall"

// attributes have the kernel kill the process when the test dies without a cleanup.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
