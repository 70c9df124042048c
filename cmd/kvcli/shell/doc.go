// Package shell reads commands, one a line, from a person or from a script, and hands
// them to one function.
//
//	Prompt:  Terminal.ReadLine ─► Split ─► execute ─► timing line on standard error
//	Script:  lines of a stream ─► Split ─► execute ─► the first error ends it
//
// Invariants:
//   - Both split lines with package literal: a line means the same in both.
//   - Ctrl-C during a command cancels the command, not the prompt; at the prompt it clears
//     the line; Ctrl-D ends the prompt.
//   - A line that begins with a space is not remembered.
//
// The package knows no command and opens no terminal: it is given both.
package shell
