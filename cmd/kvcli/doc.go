// Command kvcli is kvd's command line: one command, a prompt, or a script.
//
//	kvcli get k          one command
//	kvcli                a prompt, if standard input and output are a terminal
//	kvcli < script       one command a line
//	          │
//	          ▼ the same tree of commands (cobra), built anew for each line
//	literal ─► arguments ─► store (package client) ─► output
//	                └─► session ──┘  between begin and commit
//
//	literal   the notation of keys and values     shell     prompt, script, completion
//	output    table, json, jsonl, csv, raw        store     what is needed of a cluster
//	transfer  import, export, verify              bench     (package bench) load
//	session   the open transaction
//
// Invariants:
//   - Data goes to standard output, talk to standard error; neither has a colour.
//   - Every error is one sentence, and its kind chooses the exit code (see exit.go).
//   - No flag of one line is seen by the next; an open transaction is.
//
// The commands know no wire format and never retry a write: package client does.
package main
