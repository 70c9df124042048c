package anomalies

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Story is two sessions side by side.
type Story struct {
	Keyspace string     // that the first command creates
	Commands [][]string // of kvcli, before the sessions
	Lines    []Line
	Exits    map[string]int // by session
}

// Line is a line of one session's script, and what it prints.
type Line struct {
	Session, Text string
	Prints        []string
}

var (
	said  = regexp.MustCompile(`^([AB])> (.+)$`)
	exits = regexp.MustCompile(`^([AB]) exits ([0-9]+)$`)
)

// Parse reads a story.
func Parse(text string) (*Story, error) {
	s := &Story{Exits: map[string]int{}}
	for raw := range strings.Lines(text) {
		line := strings.TrimRight(raw, "\n")
		command, isCommand := strings.CutPrefix(line, "$ kvcli ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case isCommand:
			s.Commands = append(s.Commands, strings.Fields(command))
		case said.MatchString(line):
			m := said.FindStringSubmatch(line)
			s.Lines = append(s.Lines, Line{Session: m[1], Text: m[2]})
		case exits.MatchString(line):
			m := exits.FindStringSubmatch(line)
			s.Exits[m[1]], _ = strconv.Atoi(m[2]) // digits only
		case len(s.Lines) == 0:
			return nil, fmt.Errorf("%q is printed by nothing", line)
		default:
			last := &s.Lines[len(s.Lines)-1]
			last.Prints = append(last.Prints, line)
		}
	}
	if len(s.Commands) == 0 || len(s.Commands[0]) < 3 || s.Commands[0][1] != "create" {
		return nil, fmt.Errorf("the first command creates no keyspace: %q", s.Commands)
	}
	s.Keyspace = s.Commands[0][2]
	if len(s.Exits) != 2 {
		return nil, fmt.Errorf("it says how %d of 2 sessions exit", len(s.Exits))
	}
	return s, nil
}

// version is what VERSION stands for.
var version = regexp.MustCompile(`^[0-9]{18,19}$`)

// Matches reports whether a line is as it should be: "..." stands for anything, and a line VERSION
// for a version.
func Matches(want, got string) bool {
	if want == "VERSION" {
		return version.MatchString(got)
	}
	parts := strings.Split(want, "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got)
}
