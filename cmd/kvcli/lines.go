package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kvd-db/kvd/cmd/kvcli/shell"
	"github.com/kvd-db/kvd/kv"
)

// lineCompleter is shell.Complete with its candidates.
type lineCompleter func(line string, pos int) (head string, list []string, tail string)

// editor is the terminal of the prompt.
type editor interface {
	shell.Terminal
	Close() error
}

// lines reads commands: from a person if one is there, else from a script. A script's error
// has been told when it returns; the exit code is still to be made of it.
func (a *app) lines(ctx context.Context, keepGoing bool) error {
	if a.inTTY && a.outTTY {
		return a.prompt(ctx)
	}
	a.mode = modeScript
	s := &shell.Script{
		Talk: a.err, KeepGoing: keepGoing,
		Explain: explain,
		Execute: func(ctx context.Context, words []string) error {
			_, err := a.execute(ctx, words)
			return err
		},
	}
	err := s.Run(ctx, a.in)
	left := a.abandon()
	if err != nil {
		return &toldError{err}
	}
	return left
}

// toldError is an error whose sentence has been written already.
type toldError struct{ cause error }

func (e *toldError) Error() string { return e.cause.Error() }

// Unwrap gives the error that was told.
func (e *toldError) Unwrap() error { return e.cause }

func (a *app) prompt(ctx context.Context) error {
	a.mode = modePrompt
	ed, err := a.edit(func(line string, pos int) (string, []string, string) {
		return shell.Complete(line, pos, func(words []string, partial string) []string { return a.candidates(ctx, words, partial) })
	})
	if err != nil {
		return err
	}
	a.line = ed
	defer func() {
		a.line = nil
		if err := ed.Close(); err != nil {
			fmt.Fprintf(a.err, "kvcli: the history could not be kept: %v\n", err)
		}
	}()
	p := &shell.Prompt{
		Terminal: ed, Talk: a.err, Interruptible: a.interruptible, Execute: a.execute,
		Text:    a.promptText,
		Explain: explain,
	}
	err = p.Run(ctx)
	_ = a.abandon() // it has been told, and a person has seen it
	return err
}

// promptText is what stands before the cursor: the keyspace and the open transaction, if any.
func (a *app) promptText() string {
	text := "kvd"
	if a.defaults.keyspace != "" {
		text += ":" + a.defaults.keyspace
	}
	if a.session != nil {
		text += a.session.Mark()
	}
	return text + "> "
}

// ask has a person answer a question: with the line editor where there is one.
func (a *app) ask(question string) (string, error) {
	if a.line != nil {
		answer, err := a.line.ReadLine(question)
		if errors.Is(err, shell.ErrInterrupted) {
			return "", kv.Errorf(kv.Canceled, "interrupted")
		}
		return strings.TrimSpace(answer), err
	}
	fmt.Fprint(a.err, question)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if answer == "" && err != nil {
		return "", kv.Errorf(kv.Invalid, "there was no answer")
	}
	return strings.TrimSpace(answer), nil
}
