// Package anomalies shows what cannot happen between two transactions, and what happens instead: each
// *.txt of it is a pair of kvcli scripts side by side, with what both print. A test runs them all on
// a real cluster.
//
//	$ kvcli keyspace create shop        a command before the sessions begin
//	A> begin                            a line of the script of session A, or B
//	A> get stock
//	10                                  what kvcli prints for it
//	VERSION                             the version of a commit
//	... key "stock": written after ...  "..." stands for what differs from run to run
//	A exits 4                           the exit code at the end of A's script
//
// To try one by hand, open two terminals with kvcli -o raw --keyspace KEYSPACE, the keyspace that
// the text names, and type the lines in their order.
//
// It never decides what is right: the texts do.
package anomalies
