//go:build !linux

package main

import "syscall"

// childAttr keeps a Ctrl-C of the terminal away from the servers: the driver stops them in its
// own order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// writeBack is for Linux, where the device's counters are read.
func writeBack() {}
