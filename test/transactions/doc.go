// Package transactions uses the transactions of kvcli as a script does: by lines, what they print,
// and exit codes.
//
// What it owns: nothing; processes and proxies are package cluster's. What two sessions do to each
// other is told in package anomalies.
package transactions
