package badinput

import (
	"fmt"
	"strings"

	"github.com/kvd-db/kvd/test/cluster"
)

// Words that only a programmer understands: no sentence for users has them.
var jargon = []string{"rpc error", "code =", "panic", "goroutine", "nil pointer", "%!", "context deadline exceeded", "0x0"}

// judge says what is wrong with how a command refused: nil if it ended with the code and said
// one sentence that has all the words.
func judge(r cluster.Result, code int, words ...string) error {
	if r.Code != code {
		return fmt.Errorf("exit code %d is wanted, with a sentence about %q:\n%s", code, words, r)
	}
	return judgeSentence(r.Stderr, words...)
}

// judgeSentence judges what was said on standard error.
func judgeSentence(said string, words ...string) error {
	lines := strings.Split(strings.TrimRight(said, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "kvd: ") && !strings.HasPrefix(last, "kvcli: ") {
		return fmt.Errorf("the last line does not say who speaks:\n%s", said)
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			return fmt.Errorf("the sentence does not say %q:\n%s", w, said)
		}
	}
	for _, j := range jargon {
		if strings.Contains(last, j) {
			return fmt.Errorf("the sentence speaks of %q:\n%s", j, said)
		}
	}
	return nil
}
