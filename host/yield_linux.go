package host

import "syscall"

// yield lets other threads and processes that are ready to run use this core first; with a core to
// spare it returns at once. It is for the moment before an expensive step that what they are about
// to add can share. A raw call, so that Go's scheduler does not hand the goroutine's place to another.
func yield() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
