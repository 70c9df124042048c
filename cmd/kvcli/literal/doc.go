// Package literal is the notation for keys and values on a command line: one parser, one
// printer and one lexer, which belong together and are fuzzed together.
//
//	bare          user:17/name      letters, digits and punctuation, taken as they are
//	quoted        "a b\n\xff"       \n \r \t \" \\ \xNN; every byte can be written
//	hexadecimal   0x00ff            an even number of digits
//	base64        b64:AP8=          standard alphabet, padding optional
//	file          @path             the bytes of a file
//	stream        -                 all of standard input, once
//
//	bytes ──Format──► word ──Parse──► the same bytes
//	line  ──Split───► words, each with its quotes still on
//
// Invariants:
//   - Parse(Format(b)) is b for all b, and Split(Format(b)) is that one word.
//   - Format writes neither @ nor -, so what is printed never reads a file when typed back.
//   - Format writes printable characters only: no control character reaches a terminal.
//
// Split keeps the quotes on because the operating system's shell takes words apart before
// kvcli sees them: in a prompt, in a script and in a shell the same Parse meets the same
// words. The package never talks to a terminal or to a cluster.
package literal
