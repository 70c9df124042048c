package literal

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// Source is where the notations @file and - get their bytes.
type Source struct {
	// Stdin is what - reads; nil where standard input is taken, as in a script.
	Stdin io.Reader
	// BytesMax bounds what is read from a file or from Stdin; 0 is kv.ValueBytesMax.
	BytesMax int64
}

// Parse reads one word. An error is of kind Invalid and says what to write instead.
func (s *Source) Parse(word string) ([]byte, error) {
	switch {
	case word == "-":
		return s.readStdin()
	case strings.HasPrefix(word, "@"):
		return s.readFile(word[1:])
	}
	return Parse(word)
}

func (s *Source) readStdin() ([]byte, error) {
	if s.Stdin == nil {
		return nil, kv.Errorf(kv.Invalid, `- stands for standard input, which is not free here: write the bytes, or @file; a plain minus sign is "-" with the quotes`)
	}
	in := s.Stdin
	s.Stdin = nil // a stream can be read once: a second - in one command must not see emptiness
	b, err := readBounded(in, s.bytesMax())
	if err != nil {
		return nil, kv.Errorf(kv.Invalid, "standard input: %v", err)
	}
	return b, nil
}

func (s *Source) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, kv.Errorf(kv.Invalid, `%v; a word that begins with a plain @ is written in quotes: "@..."`, err)
	}
	defer f.Close()
	b, err := readBounded(f, s.bytesMax())
	if kv.KindOf(err) == kv.Limit {
		return nil, err
	}
	if err != nil {
		return nil, kv.Errorf(kv.Invalid, "@%s: %v", path, err)
	}
	return b, nil
}

func (s *Source) bytesMax() int64 {
	if s.BytesMax > 0 {
		return s.BytesMax
	}
	return kv.ValueBytesMax
}

func readBounded(r io.Reader, bytesMax int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, bytesMax+1))
	if err == nil && int64(len(b)) > bytesMax {
		err = kv.LimitError("the length of the value", bytesMax, int64(len(b)), "store it in parts under several keys")
	}
	return b, err
}

// Parse reads one word in a notation that carries its bytes in itself; @ and - are taken
// for the start of such a word only by Source.Parse.
func Parse(word string) ([]byte, error) {
	switch {
	case strings.HasPrefix(word, `"`):
		b, closed, err := unquote(word)
		if err == nil && !closed {
			err = kv.Errorf(kv.Invalid, `%s: the closing quote is missing`, word)
		}
		return b, err
	case strings.HasPrefix(word, "0x"):
		b, err := hex.DecodeString(word[2:])
		if err != nil {
			return nil, kv.Errorf(kv.Invalid, `%s: after 0x come pairs of hexadecimal digits; if the text itself is meant, put it in quotes`, word)
		}
		return b, nil
	case strings.HasPrefix(word, "b64:"):
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(word[4:], "="))
		if err != nil {
			return nil, kv.Errorf(kv.Invalid, `%s: after b64: comes base64 in the standard alphabet; if the text itself is meant, put it in quotes`, word)
		}
		return b, nil
	}
	return []byte(word), nil
}

// ParsePrefix reads a word that is still being typed: a quote may be open, an escape or
// a pair of digits may be half written (the half is dropped).
func ParsePrefix(word string) ([]byte, error) {
	switch {
	case strings.HasPrefix(word, `"`):
		b, _, err := unquote(word)
		if errors.Is(err, errHalfEscape) {
			err = nil
		}
		return b, err
	case strings.HasPrefix(word, "0x") && len(word)%2 == 1:
		return Parse(word[:len(word)-1])
	case strings.HasPrefix(word, "b64:"):
		digits := strings.TrimRight(word[4:], "=")
		return Parse("b64:" + digits[:len(digits)/4*4])
	}
	return Parse(word)
}

// errHalfEscape is an escape that the end of the word cuts off.
var errHalfEscape = kv.Errorf(kv.Invalid, `the text ends in the middle of an escape: \n \r \t \" \\ and \xNN exist`)

// unquote reads a word that begins with a quote. With an error it returns what came before.
func unquote(word string) (b []byte, closed bool, err error) {
	b = make([]byte, 0, len(word))
	for i := 1; i < len(word); {
		switch c := word[i]; c {
		case '"':
			if i != len(word)-1 {
				return b, true, kv.Errorf(kv.Invalid, `%s: there is text after the closing quote; write a quote inside of the text as \"`, word)
			}
			return b, true, nil
		case '\\':
			c, n, err := unescape(word[i:])
			if err != nil {
				return b, false, err
			}
			b, i = append(b, c), i+n
		default:
			b, i = append(b, c), i+1
		}
	}
	return b, false, nil
}

// unescape reads one escape at the start of s: its byte, and its length in s.
func unescape(s string) (c byte, n int, err error) {
	if len(s) < 2 {
		return 0, 0, errHalfEscape
	}
	switch s[1] {
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case '"', '\\':
		return s[1], 2, nil
	case 'x':
		return unescapeHex(s)
	}
	return 0, 0, kv.Errorf(kv.Invalid, `\%c is no escape: \n \r \t \" \\ and \xNN exist`, []rune(s[1:])[0])
}

func unescapeHex(s string) (c byte, n int, err error) {
	if len(s) < 4 {
		return 0, 0, errHalfEscape
	}
	var one [1]byte
	if _, err := hex.Decode(one[:], []byte(s[2:4])); err != nil {
		return 0, 0, kv.Errorf(kv.Invalid, `%q: after \x come two hexadecimal digits`, s[:4])
	}
	return one[0], 4, nil
}
