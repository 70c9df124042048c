// Package output prints what commands have found, in the five formats of kvcli.
//
//	Record = fields in order ──► table   for people: columns, or one line a field
//	                             json    one value: an object, or an array of them
//	                             jsonl   one object a line
//	                             csv     a header, then rows
//	                             raw     values only, tabs between, bytes as they are
//
// How values look:
//
//	            JSON                                   table and CSV
//	bytes       "text", or {"b64":"AP8="} if no UTF-8   a literal that can be typed back
//	timestamp   "469762048000000001" (beyond 2^53)     the number; in tables with its time
//	duration    a number of ms, field name + "_ms"     1.5s; in CSV like JSON
//	nested      an object or an array                  name.inner; arrays as a count or list
//
// Invariants: the order of fields is the order in which they were given; names are in
// snake_case; no control character from a value reaches a table. Only raw prints bytes
// as they are. The package never writes to standard error and uses no colours.
package output
