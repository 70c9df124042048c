package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/kv"
)

// LineBytesMax is the longest line of a script: a value of the greatest length, each byte
// written with four characters.
const LineBytesMax = 4*(kv.ValueBytesMax+kv.KeyBytesMax) + 1024

// Script is commands from a stream.
type Script struct {
	Talk io.Writer // errors
	// Execute runs a command.
	Execute func(ctx context.Context, words []string) error
	// Explain is the sentence for an error.
	Explain func(error) string
	// KeepGoing: later lines run although an earlier one has failed.
	KeepGoing bool
}

// Run runs all lines. It returns the first error, after it has been told on Talk; of a script that ctx has ended
// that it was interrupted, unless the outcome of a commit is unknown.
func (s *Script) Run(ctx context.Context, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	var first error
	for n := 1; ; n++ {
		line, err := readLine(lines)
		switch {
		case ctx.Err() != nil: // while it was waited for
			err = interrupted()
		case err == io.EOF:
			return first
		case err == nil:
			err = s.line(ctx, line)
		}
		if errors.Is(err, ErrExit) {
			return first
		}
		if err == nil {
			continue
		}
		fmt.Fprintf(s.Talk, "line %d: %s\n", n, s.Explain(err))
		if first == nil {
			first = err
		}
		switch {
		case ctx.Err() != nil:
			return interrupted(first, err)
		case !s.KeepGoing || errors.Is(err, errLongLine):
			return first
		}
	}
}

// interrupted is the error of a script that was interrupted. What may or may not have been written counts for more.
func interrupted(errs ...error) error {
	for _, err := range errs {
		if k := kv.KindOf(err); k == kv.Ambiguous || k == kv.Expired {
			return err
		}
	}
	return kv.Errorf(kv.Canceled, "interrupted")
}

func (s *Script) line(ctx context.Context, line string) error {
	words, err := literal.Split(strings.TrimRight(line, "\r\n"))
	if err != nil || len(words) == 0 {
		return err
	}
	return s.Execute(ctx, texts(words))
}

var errLongLine = kv.Errorf(kv.Invalid, "the line is longer than %d bytes: read the value from a file with @file", LineBytesMax)

// readLine reads to the next newline or the end; io.EOF only if nothing is left.
func readLine(in *bufio.Reader) (string, error) {
	var whole []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(whole)+len(part) > LineBytesMax {
			return "", errLongLine
		}
		whole = append(whole, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(whole) > 0:
			return string(whole), nil
		}
		return string(whole), err
	}
}
