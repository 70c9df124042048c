package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/store/storetest"
	"github.com/kvd-db/kvd/kv"
)

// versionLine is a version alone on a line.
var versionLine = regexp.MustCompile(`(?m)^[0-9]{18}$`)

// script runs lines and returns what they print and the exit code. before hears of every operation.
func (ta *testApp) script(before func(op string) error, args []string, lines ...string) (out, talk string, code int) {
	ta.out.Reset()
	ta.err.Reset()
	ta.app.in = strings.NewReader(strings.Join(lines, "\n"))
	ta.fake.FailWith(func(op string, _ []byte) error { return before(op) })
	ta.app.mode = modeOnce
	code = ta.app.report(context.Background(), args)
	return ta.out.String(), ta.err.String(), code
}

// once calls a function before the first operation of a name.
func once(op string, do func()) func(string) error {
	done := false
	return func(now string) error {
		if now == op && !done {
			done = true
			do()
		}
		return nil
	}
}

// overwrite sets a key behind the back of whoever runs.
func (ta *testApp) overwrite(t *testing.T, key, value string) func() {
	return func() {
		if _, err := ta.fake.Put(t.Context(), []byte(key), []byte(value)); err != nil {
			t.Error(err)
		}
	}
}

func TestConflict(t *testing.T) {
	for _, c := range []struct {
		name       string
		key, value string // what another client writes before the commit
		lines      string
		out, talk  string
		code       int
	}{
		{"overtaken", "a", "2", "begin\nget a\nput b 1\ncommit", "1\n", "line 4: key \"a\" was written", exitConflict},
		{"nothing read", "a", "2", "begin\nput a 1\ncommit\nget a", "V\n1\n", "", 0},
		{"phantom", "user:2", "x", "begin\nscan user:\nput b 1\ncommit", "", "was written after it was read", exitConflict},
		{"retry of what is the same", "a", "1", "begin\nget a\nput b 1\ncommit\nretry\ncommit\nget b", "1\nV\n1\n", "line 4", exitConflict},
		{"retry of what has changed", "a", "2", "begin\nget a\nput b 1\ncommit\nretry\nget b\nrollback\nget b", "1\n", "line 5: get a gave 1 and gives 2 now, so the commands after it were not run", exitConflict},
		{"other rows", "user:2", "x", "begin\nscan user:\nput b 1\ncommit\nretry\nrollback", "", "scan user: gave 0 rows and gives 1 row now", exitConflict},
		{"other count", "user:2", "x", "begin\ncount user:\nput b 1\ncommit\nretry\nrollback", "0\n", "count user: gave 0 and gives 1 now", exitConflict},
		{"other values", "a", "9", "begin\nscan a\nput b 1\ncommit\nretry\nrollback", "a\t1\n", "scan a gave 1 row and gives others now", exitConflict},
		{"gone", "n", "9", "begin\nget a\nget none\nadd n 5\ncas a --expect-value 1 2\nget n\ncommit\nretry\nrollback", "1\n5\n", "get n gave 5 and gives 14 now", exitNotFound},
		{"cas", "a", "9", "begin\ncas a --expect-value 1 2\ncommit\nretry\nrollback", "", "cas a was done and would be refused now", exitConflict},
		{"cas that was refused", "a", "9", "begin\ncas a --expect-value 3 2\nput b 1\ncommit\nretry\nrollback", "", "cas a gave 1 and gives 9 now", exitConflict},
		{"a failed one takes nothing", "a", "2", "begin\nget a\nput b 1\ncommit\nput b 2\nscan\ncommit", "1\n", "line 5: the transaction (tx 3f2a…) has failed: retry", exitConflict},
		{"retry of an open one", "b", "2", "begin\nget a\nput c 1\nretry\ncommit\nget c", "1\nV\n1\n", "", 0},
		{"begin after rollback", "a", "2", "begin\nget a\nput b 1\ncommit\nrollback\nbegin\nget a\ncommit", "1\n2\nV\n", "line 4", exitConflict},
		{"begin gives a refused one up", "a", "2", "begin\nget a\nput b 1\ncommit\nbegin\nget a\ncommit", "1\n2\nV\n", "the transaction (tx 3f2a…) had failed: it was rolled back", exitConflict},
		{"begin gives an open one not up", "b", "2", "begin\nget a\nbegin\nput c 1\ncommit\nget c", "1\nV\n1\n", "line 3: a transaction (tx 3f2a…) is open", exitUsage},
	} {
		a := newTestApp("")
		a.must(t, "put", "a", "1")
		out, talk, code := a.script(once("commit", a.overwrite(t, c.key, c.value)), []string{"-o", "raw", "--keep-going"}, strings.Split(c.lines, "\n")...)
		if got := versionLine.ReplaceAllString(out, "V"); got != c.out || !strings.Contains(talk, c.talk) || c.talk == "" && talk != "" || code != c.code {
			t.Errorf("%s: printed %q, want %q; said %q, want %q; exit code %d, want %d", c.name, got, c.out, talk, c.talk, code, c.code)
		}
		if a.session != nil {
			t.Errorf("%s: a transaction is left", c.name)
		}
	}
}

// A script stops at the conflict, as at every error.
func TestConflictEndsAScript(t *testing.T) {
	a := newTestApp("")
	_, talk, code := a.script(once("commit", a.overwrite(t, "a", "2")), nil, "begin", "get a", "put b 1", "commit", "put c 1")
	if code != exitNotFound {
		t.Errorf("get of a missing key: exit code %d: %s", code, talk)
	}
	a.must(t, "put", "a", "1")
	_, talk, code = a.script(once("commit", a.overwrite(t, "a", "2")), nil, "begin", "get a", "put b 1", "commit", "put c 1")
	if code != exitConflict || strings.Count(talk, "\n") != 1 {
		t.Errorf("exit code %d, said %q", code, talk)
	}
	if _, _, code := a.run("get", "c"); code != exitNotFound {
		t.Error("the line after the conflict has run")
	}
}

// A commit that timed out and was not sent says so: it is no unknown outcome.
func TestCommitThatWasNotSent(t *testing.T) {
	a := newTestApp("")
	late := func(op string) error {
		if op == "commit" {
			return kv.Errorf(kv.Timeout, "no answer")
		}
		return nil
	}
	if _, talk, code := a.script(late, nil, "begin", "put a 1", "commit"); code != exitTimeout || !strings.Contains(talk, "no answer; nothing was written: raise --timeout") {
		t.Errorf("exit code %d, said %q", code, talk)
	}
}

func TestUnknownOutcome(t *testing.T) {
	id := kv.TxID{0: 0x3f, 1: 0x2a, 15: 1}
	lost := func(op string) error {
		if op == "commit" {
			return storetest.Ambiguous(id)
		}
		return nil
	}
	for _, c := range []struct {
		outcome kv.Outcome
		prints  string
		code    int
	}{{kv.OutcomeCommitted, "committed\n", 0}, {kv.OutcomeAborted, "aborted\n", 0}, {kv.OutcomeUnknown, "unknown\n", exitAmbiguous}} {
		a := newTestApp("")
		a.fake.SetOutcome(id, c.outcome)
		_, talk, code := a.script(lost, nil, "begin", "put a 1", "commit")
		if code != exitAmbiguous || !strings.Contains(talk, id.String()) || !strings.Contains(talk, "kvcli outcome t-"+id.String()) || strings.Contains(talk, "rolled back") {
			t.Errorf("exit code %d, said %q", code, talk)
		}
		for _, name := range []string{id.String(), "t-" + id.String()} {
			if out, talk, code := a.run("outcome", name, "-o", "raw"); out != c.prints || code != c.code {
				t.Errorf("outcome %s: %q, exit code %d: %s", name, out, code, talk)
			}
		}
		// It has ended: another attempt could do it twice.
		_, talk, code = a.script(lost, []string{"--keep-going"}, "begin", "put a 1", "commit", "retry")
		if code != exitAmbiguous || !strings.Contains(talk, "line 4: no transaction is open") {
			t.Errorf("exit code %d, said %q", code, talk)
		}
	}
}

func TestOutcomeThatIsNotToBeHad(t *testing.T) {
	for _, kind := range []kv.Kind{kv.Unavailable, kv.Timeout, kv.NotLeader} {
		a := newTestApp("")
		a.fake.FailWith(func(string, []byte) error { return kv.Errorf(kind, "nobody answers") })
		if out, talk, code := a.run("outcome", "t-"+kv.TxID{1}.String()); code != exitAmbiguous || out != "" || !strings.Contains(talk, "nobody answers") {
			t.Errorf("%s: exit code %d, printed %q, said %q", kind, code, out, talk)
		}
	}
}

func TestTransactionsNeedLines(t *testing.T) {
	a := newTestApp("")
	for _, args := range [][]string{{"begin"}, {"commit"}, {"rollback"}, {"retry"}} {
		if _, talk, code := a.run(args...); code != exitUsage || !strings.Contains(talk, "a prompt or a script") {
			t.Errorf("%q: exit code %d, %s", args, code, talk)
		}
	}
}

func TestTransactionAtThePrompt(t *testing.T) {
	ed := &fakeEditor{lines: []string{
		"begin", "get a", "put b 1", "commit", // refused
		"retry", "rollback",
		"use other", "begin ro", "put x 1", "commit", "use default",
		"begin", "put c 1", "exit",
	}}
	a := newTestApp("")
	a.must(t, "put", "a", "1")
	a.must(t, "keyspace", "create", "other")
	a.inTTY, a.outTTY, a.ttErr = true, true, true
	a.edit = func(lineCompleter) (editor, error) { return ed, nil }
	interfere := once("commit", a.overwrite(t, "a", "2"))
	a.fake.FailWith(func(op string, _ []byte) error { return interfere(op) })
	_, talk, code := a.run()
	if code != 0 || !strings.Contains(talk, "(tx 3f2a…) was still open: it was rolled back") || !strings.Contains(talk, "nothing was written: retry runs") {
		t.Errorf("exit code %d, said %s", code, talk)
	}
	want := []string{
		"kvd> ", "kvd(tx 3f2a…)> ", "kvd(tx 3f2a…)> ", "kvd(tx 3f2a…)*> ", "kvd(tx 3f2a…)!> ", "kvd(tx 3f2a…)!> ", "kvd> ",
		"kvd:other> ", "kvd:other(ro 06:00:00.000)> ", "kvd:other(ro 06:00:00.000)> ", "kvd:other> ",
		"kvd:default> ", "kvd:default(tx 3f2a…)> ", "kvd:default(tx 3f2a…)*> ",
	}
	if got := strings.Join(ed.prompts, "|"); got != strings.Join(want, "|") {
		t.Errorf("the prompts were\n%s\nwant\n%s", got, strings.Join(want, "|"))
	}
	if _, _, code := a.run("get", "c"); code != exitNotFound {
		t.Error("what was rolled back is there")
	}
}

// Ctrl-C is told once, and the open transaction is not committed.
func TestInterruptedTransaction(t *testing.T) {
	a := newTestApp("begin\nput a 1\ncommit\n")
	ctx, interrupt := context.WithCancel(t.Context())
	a.fake.FailWith(func(op string, _ []byte) error {
		if op == "commit" {
			interrupt()
			return ctx.Err()
		}
		return nil
	})
	code := a.report(ctx, nil)
	if talk := a.err.String(); code != exitInterrupted || strings.Count(talk, "interrupted") != 1 {
		t.Errorf("exit code %d, said %q", code, talk)
	}
	a.fake.FailWith(nil)
	if _, _, code := a.run("get", "a"); code != exitNotFound {
		t.Error("what was interrupted is there")
	}
}

// TestPromptOfThePage: what docs/transactions.md shows of a prompt is what one sees.
func TestPromptOfThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "transactions.md"))
	if err != nil {
		t.Fatal(err)
	}
	ed, want := &fakeEditor{}, []string(nil)
	for _, m := range regexp.MustCompile(`(?m)^(kvd[^>\n]*> )(.*)$`).FindAllStringSubmatch(string(page), -1) {
		want, ed.lines = append(want, m[1]), append(ed.lines, m[2])
	}
	if len(want) < 5 {
		t.Fatalf("the page shows %q", want)
	}
	a := newTestApp("")
	a.must(t, "put", "alice", "100")
	a.inTTY, a.outTTY, a.ttErr = true, true, true
	a.edit = func(lineCompleter) (editor, error) { return ed, nil }
	if _, talk, code := a.run(); code != 0 || strings.Join(ed.prompts, "|") != strings.Join(want, "|") {
		t.Errorf("exit code %d, the prompts were %q, the page has %q; said %s", code, ed.prompts, want, talk)
	}
}

// To complete a key is not to read it in the transaction.
func TestCompletionReadsOutsideOfTheTransaction(t *testing.T) {
	a := newTestApp("")
	a.must(t, "put", "user:1", "v")
	a.mode = modePrompt
	if _, err := a.execute(t.Context(), []string{"begin"}); err != nil {
		t.Fatal(err)
	}
	if list := a.candidates(t.Context(), []string{"get"}, "us"); len(list) != 1 {
		t.Errorf("completed %q", list)
	}
	a.overwrite(t, "user:2", "v")()
	var out bytes.Buffer
	a.app.out = &out
	for _, line := range []string{"put x 1", "commit"} {
		if _, err := a.execute(t.Context(), strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if !strings.Contains(out.String(), `"reads":0`) {
		t.Errorf("printed %s", &out)
	}
}

// What is explained fails as it does otherwise, and the request that failed is shown.
func TestExplainOfAConflict(t *testing.T) {
	a := newTestApp("")
	a.must(t, "put", "a", "1")
	refused := func(op string) error {
		if op == "commit" {
			return kv.Errorf(kv.Conflict, "overtaken")
		}
		return nil
	}
	out, talk, code := a.script(refused, []string{"-o", "csv"}, "begin", "get a", "put b 1", "explain commit")
	if code != exitConflict || !strings.HasSuffix(out, "1,commit,10,anchor,1,127.0.0.1:7401,0,1,,,,,,0,,conflict,overtaken\n") || !strings.HasPrefix(talk, "line 4: overtaken") {
		t.Errorf("exit code %d, printed %q, said %q", code, out, talk)
	}
	waited := func(op string) error {
		err := refused(op)
		if e := kv.AsError(err); e != nil {
			e.Timing = &kv.Timing{Spent: kv.Spent{LockWait: 7 * time.Millisecond}, Parts: []kv.PartTiming{{
				Partition: 11, Node: 2, Elapsed: 9 * time.Millisecond, Staged: 3 * time.Millisecond, Spent: kv.Spent{Consensus: 5 * time.Millisecond},
			}}}
		}
		return err
	}
	out, _, code = a.script(waited, []string{"-o", "csv"}, "begin", "get a", "put b 1", "explain commit")
	if code != exitConflict || !strings.HasSuffix(out, "1,commit,10,anchor,1,127.0.0.1:7401,0,1,,7,0,0,0,0,,conflict,overtaken\n1,prepare,11,participant,2,127.0.0.1:7402,0,9,3,0,0,5,0,30,,ok,\n") {
		t.Errorf("exit code %d, printed %q", code, out)
	}
	a.fake.FailWith(nil)
	if out := a.must(t, "explain", "get", "a", "-o", "raw"); !strings.HasPrefix(out, "1\tread\t10\treader\t") {
		t.Errorf("explained once: %q", out)
	}
}
