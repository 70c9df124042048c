package literal

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// bareExtra are the characters beside letters and digits that a bare word is printed with.
// A comma is not among them: it separates the members of a list. Parse takes many more.
const bareExtra = "_-./:+=@%~"

// Format prints b so that it can be typed back: bare if nothing in it is special, in hexadecimal
// if most of it cannot be seen, else in quotes.
func Format(b []byte) string { return string(Append(nil, b)) }

// Append appends what Format prints to dst.
func Append(dst, b []byte) []byte {
	if isBare(b) {
		return append(dst, b...)
	}
	// An escape takes four characters for a byte: from here on, most bytes need one.
	if quotedBytes(b) > len(b)*5/2+2 {
		return hex.AppendEncode(append(dst, "0x"...), b)
	}
	return appendQuoted(dst, b)
}

// Quote prints b in quotes, even where a bare word would do.
func Quote(b []byte) string { return string(appendQuoted(nil, b)) }

func isBare(b []byte) bool {
	if len(b) == 0 || hasSpecialStart(string(b)) {
		return false
	}
	for rest := b; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !(r < utf8.RuneSelf && strings.ContainsRune(bareExtra, r)) {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// hasSpecialStart reports whether a word that begins so means something else than itself,
// to Parse, to Split or to the parser of flags.
func hasSpecialStart(w string) bool {
	switch w[0] {
	case '"', '@', '-', '#':
		return true
	}
	return strings.HasPrefix(w, "0x") || strings.HasPrefix(w, "b64:")
}

func appendQuoted(dst, b []byte) []byte {
	dst = append(dst, '"')
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		dst = appendEscaped(dst, r, b[:n])
		b = b[n:]
	}
	return append(dst, '"')
}

// appendEscaped writes one character as it stands in quotes; raw are its bytes.
func appendEscaped(dst []byte, r rune, raw []byte) []byte {
	switch r {
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '"':
		return append(dst, `\"`...)
	case '\\':
		return append(dst, `\\`...)
	}
	if isPlain(r, len(raw)) {
		return append(dst, raw...)
	}
	for _, c := range raw {
		dst = append(dst, '\\', 'x')
		dst = hex.AppendEncode(dst, []byte{c})
	}
	return dst
}

// isPlain reports whether a character of n bytes may be printed as it is. A RuneError of
// one byte is a byte that is not UTF-8.
func isPlain(r rune, n int) bool {
	return unicode.IsPrint(r) && (r != utf8.RuneError || n != 1)
}

// quotedBytes is the length of what appendQuoted would write.
func quotedBytes(b []byte) int {
	total := 2
	var scratch [4 * utf8.UTFMax]byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		total += len(appendEscaped(scratch[:0], r, b[:n]))
		b = b[n:]
	}
	return total
}
