// Package readme keeps README.md and docs/transactions.md true: it runs every command that stands there.
//
//	```sh blocks ──► Script: lines, joined where they go on, without comments
//	     │ addresses and directories of the machine replaced by free ones
//	     ▼
//	make ...       is left out: it is what runs the tests
//	export A=B     holds for what follows
//	... &          a process; what follows waits until it says that it is ready
//	anything else  is run, and must end with exit code 0
//
// A command followed by "# prints TEXT" must print TEXT. Some more claims, which the README makes in
// its prose, are in the test.
//
// What it never does: leave a process behind, or touch anything outside of its directory.
package readme
