package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/peterh/liner"

	"github.com/kvd-db/kvd/cmd/kvcli/shell"
)

// lineEditor is liner as the prompt's editor, with a history on disk.
type lineEditor struct {
	state   *liner.State
	history string // path; "" if none is kept
}

// openEditor takes over the terminal until Close.
func openEditor(history string, complete lineCompleter) (editor, error) {
	state := liner.NewLiner()
	state.SetCtrlCAborts(true)
	state.SetTabCompletionStyle(liner.TabPrints)
	state.SetWordCompleter(liner.WordCompleter(complete))
	if f, err := os.Open(history); err == nil {
		_, _ = state.ReadHistory(f) // a damaged history is as good as none
		_ = f.Close()
	}
	return &lineEditor{state: state, history: history}, nil
}

func (e *lineEditor) ReadLine(prompt string) (string, error) {
	line, err := e.state.Prompt(prompt)
	if errors.Is(err, liner.ErrPromptAborted) {
		return "", shell.ErrInterrupted
	}
	return line, err
}

func (e *lineEditor) Remember(line string) { e.state.AppendHistory(line) }

// Close gives the terminal back and writes the history, for its owner only: values may be
// in it.
func (e *lineEditor) Close() error {
	err := e.state.Close()
	if e.history == "" {
		return err
	}
	return errors.Join(err, writeHistory(e.history, e.state.WriteHistory))
}

func writeHistory(path string, write func(w io.Writer) (int, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = write(f)
	return errors.Join(err, f.Close())
}

// historyPath is where the history is kept: KVCLI_HISTORY (empty: nowhere), or below the
// directory for state; "" if there is no such place.
func historyPath(lookup func(string) (string, bool)) string {
	if path, ok := lookup("KVCLI_HISTORY"); ok {
		return path
	}
	if dir, ok := lookup("XDG_STATE_HOME"); ok && dir != "" {
		return filepath.Join(dir, "kvcli", "history")
	}
	if home, ok := lookup("HOME"); ok && home != "" {
		return filepath.Join(home, ".local", "state", "kvcli", "history")
	}
	return ""
}
