package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
)

// Terminal is a line editor.
type Terminal interface {
	// ReadLine shows the prompt and reads a line; io.EOF is Ctrl-D, ErrInterrupted is Ctrl-C.
	ReadLine(prompt string) (string, error)
	// Remember adds a line to the history.
	Remember(line string)
}

// ErrInterrupted is Ctrl-C while a line is typed.
var ErrInterrupted = errors.New("interrupted")

// ErrExit is what Execute returns for the command that ends the prompt or script.
var ErrExit = errors.New("exit")

// Prompt is a conversation.
type Prompt struct {
	Terminal Terminal
	Talk     io.Writer     // errors and timings
	Text     func() string // what stands before the cursor
	// Execute runs a command and says what it did, in a few words for the timing line.
	Execute func(ctx context.Context, words []string) (note string, err error)
	// Explain is the sentence for an error; "" for one that has been told already.
	Explain func(error) string
	// Interruptible gives a context that Ctrl-C ends.
	Interruptible func(context.Context) (context.Context, context.CancelFunc)
}

// Run talks until the end. It returns nil after exit and Ctrl-D.
func (p *Prompt) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		line, err := p.Terminal.ReadLine(p.Text())
		switch {
		case errors.Is(err, ErrInterrupted):
			fmt.Fprintln(p.Talk, "(exit, or Ctrl-D, ends the prompt)")
			continue
		case err == io.EOF:
			fmt.Fprintln(p.Talk)
			return nil
		case err != nil:
			return err
		}
		if err := p.line(ctx, line); err != nil {
			return nil // exit
		}
	}
	return ctx.Err()
}

// line runs one line; its only error is ErrExit.
func (p *Prompt) line(ctx context.Context, line string) error {
	words, err := literal.Split(line)
	if len(words) > 0 && !strings.HasPrefix(line, " ") {
		p.Terminal.Remember(line)
	}
	if err != nil {
		p.say(err)
		return nil
	}
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := p.Interruptible(ctx)
	defer cancel()
	began := time.Now()
	note, err := p.Execute(ctx, texts(words))
	if errors.Is(err, ErrExit) {
		return ErrExit
	}
	elapsed := time.Since(began)
	if err != nil {
		p.say(err)
	}
	if note != "" {
		note += ", "
	}
	fmt.Fprintf(p.Talk, "(%s%s)\n", note, formatElapsed(elapsed))
	return nil
}

func (p *Prompt) say(err error) {
	if s := p.Explain(err); s != "" {
		fmt.Fprintln(p.Talk, s)
	}
}

// formatElapsed prints a time with three digits that matter to people.
func formatElapsed(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func texts(words []literal.Word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.Text
	}
	return out
}

// Complete finds the word at the cursor, which stands before the rune pos, and what it may
// become: candidates gets the words before it and the part of it that is typed. The result
// is the line before the word, the candidates, and the line after the cursor. Where there is
// but one candidate, the word is complete and a space follows.
func Complete(line string, pos int, candidates func(words []string, partial string) []string) (head string, list []string, tail string) {
	runes := []rune(line)
	pos = max(0, min(pos, len(runes)))
	before, tail := string(runes[:pos]), string(runes[pos:])
	words, err := literal.Split(before)
	partial, start := "", len(before)
	if n := len(words); n > 0 {
		last := words[n-1]
		// The cursor is in the last word unless white space stands between.
		if err != nil || last.Start+len(last.Text) == len(before) {
			partial, start = last.Text, last.Start
			words = words[:n-1]
		}
	}
	list = candidates(texts(words), partial)
	if len(list) == 1 && !strings.HasPrefix(tail, " ") {
		list[0] += " "
	}
	return before[:start], list, tail
}
