package readme

import (
	"regexp"
	"strings"
)

// Line is one command of a script.
type Line struct {
	Command    string // for a shell; empty if there is none
	Background bool   // it ended with &
	Prints     string // what "# prints TEXT" claims; empty: nothing
}

// Script is the commands of all sh blocks of a document, in order, without those of make.
func Script(document string) []Line {
	const fence, kind = "```", "```sh"
	var lines []Line
	inside, joined := false, ""
	for raw := range strings.Lines(document) {
		line := strings.TrimSpace(raw)
		switch {
		case strings.HasPrefix(line, fence):
			inside = line == kind
			continue
		case !inside:
			continue
		case strings.HasSuffix(line, `\`):
			joined += strings.TrimSuffix(line, `\`)
			continue
		}
		if l, ok := parse(joined + line); ok {
			lines = append(lines, l)
		}
		joined = ""
	}
	return lines
}

var (
	comment = regexp.MustCompile(`(^|\s)#.*$`)
	prints  = regexp.MustCompile(`\s# prints (.+)$`)
)

func parse(text string) (l Line, ok bool) {
	if m := prints.FindStringSubmatch(text); m != nil {
		l.Prints = strings.TrimSpace(m[1])
	}
	l.Command = strings.TrimSpace(comment.ReplaceAllString(text, ""))
	l.Command, l.Background = strings.CutSuffix(l.Command, "&")
	l.Command = strings.TrimSpace(l.Command)
	return l, l.Command != "" && l.Command != "make" && !strings.HasPrefix(l.Command, "make ")
}

var (
	address   = regexp.MustCompile(`(127\.0\.0\.1|localhost):[1-9][0-9]*`)
	temporary = regexp.MustCompile(`/tmp/`)
)

// Addresses are the addresses that a document names, each once, in the order of appearance.
func Addresses(document string) []string {
	var list []string
	seen := map[string]bool{}
	for _, a := range address.FindAllString(document, -1) {
		if !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// Moved is the document with other addresses, and with a directory of its own in place of /tmp.
func Moved(document string, to map[string]string, dir string) string {
	document = address.ReplaceAllStringFunc(document, func(a string) string { return to[a] })
	return temporary.ReplaceAllLiteralString(document, dir+"/")
}
