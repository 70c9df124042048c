// Package badinput asks real processes for what cannot be, and gives them days on which nothing
// works: each must answer with one sentence that names the thing, the limit and the remedy,
// with the right exit code, and lose nothing that was acknowledged.
//
//	requests    too large, too many, unknown, malformed        kvcli and the gRPC door
//	starts      wrong settings, directories, addresses         kvd start
//	bad days    no majority, no time, a damaged log, no space  processes, files, a small disk
//
// What it owns: the expectations. Processes are package cluster's.
package badinput
