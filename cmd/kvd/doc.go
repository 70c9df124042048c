// Command kvd is the server: one binary that starts a node, shows a whole cluster, and runs the
// simulator.
//
//	kvd start           one node: host (the world) around node (the rules), server (the doors)
//	kvd demo            three such processes, a copy of Go's source tree, and a SIGKILL
//	kvd sim             the same node code in a pretend world
//	kvd config          the effective settings, and where each came from
//	kvd version
//
// It only assembles: settings.go is the one table of settings, config.go lays flags over
// KVD_* over the file over the defaults, doors.go fits the server's backend to the host.
// Exit codes: 0 ok, 1 error, 2 usage, 130 interrupted.
package main
