package main

import "syscall"

// childAttr keeps a Ctrl-C of the terminal away from the servers (the driver stops them in its
// own order), and has the kernel kill them if the driver dies. The kernel means the thread that
// started them: see main.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// writeBack has the kernel write all dirty pages.
func writeBack() { syscall.Sync() }
