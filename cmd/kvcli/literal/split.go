package literal

import (
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// Word is one word of a line, quotes and escapes as they were typed.
type Word struct {
	Text  string
	Start int // offset in bytes in the line
}

// Split takes a line apart at white space that is not in quotes. A word that begins with
// # starts a comment, which ends the line. A quote that is still open is an error of kind
// Invalid; the words are returned nevertheless, the open one last.
func Split(line string) ([]Word, error) {
	var words []Word
	for i := 0; i < len(line); {
		if isSpace(line[i]) {
			i++
			continue
		}
		if line[i] == '#' {
			return words, nil
		}
		end, open := wordEnd(line, i)
		words = append(words, Word{Text: line[i:end], Start: i})
		if open {
			return words, kv.Errorf(kv.Invalid, `%s: the closing quote is missing; write a plain quote as "\""`, line[i:end])
		}
		i = end
	}
	return words, nil
}

// wordEnd is where the word at start ends, and whether a quote is open there.
func wordEnd(line string, start int) (end int, open bool) {
	i := start
	for i < len(line) {
		switch c := line[i]; {
		case open && c == '\\':
			i++ // whatever follows is not the closing quote
		case c == '"':
			open = !open
		case !open && isSpace(c):
			return i, false
		}
		i++
	}
	return len(line), open
}

// SplitList takes a list apart at commas that are not in quotes. An empty list has no
// members.
func SplitList(list string) []string {
	if list == "" {
		return nil
	}
	var members []string
	start, open := 0, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case open && c == '\\':
			i++
		case c == '"':
			open = !open
		case c == ',' && !open:
			members = append(members, list[start:i])
			start = i + 1
		}
	}
	return append(members, list[start:])
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n\v\f", c) >= 0 }
