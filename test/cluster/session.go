package cluster

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Session is a kvcli process that is given lines and answers on one stream, as in a terminal.
type Session struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string // of what it prints and says, in order; closed at its end
	ended   chan struct{}
	printed strings.Builder
}

// Session starts kvcli for a script that is written while it runs. The test's end ends it.
func (c *Cluster) Session(t testing.TB, args ...string) *Session {
	t.Helper()
	s := &Session{name: "kvcli " + strings.Join(args, " "), lines: make(chan string, 1024), ended: make(chan struct{})}
	s.cmd = exec.Command(c.Binaries.KVCLI, append([]string{"--target", c.Target()}, args...)...)
	s.cmd.Env, s.cmd.SysProcAttr = Environment(), Attributes()
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = write, write // one file: the order of both is kept
	if s.in, err = s.cmd.StdinPipe(); err == nil {
		err = s.cmd.Start()
	}
	_ = write.Close() // the process has its own
	if err != nil {
		_ = out.Close()
		t.Fatalf("%s: %v", s.name, err)
	}
	go func() {
		defer close(s.lines)
		defer out.Close()
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if line != "" {
				s.lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // ProcessState says how it ended
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be gone
		<-s.ended
	})
	return s
}

// Say gives it one line.
func (s *Session) Say(t testing.TB, line string) {
	t.Helper()
	s.printed.WriteString("> " + line + "\n")
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		t.Fatalf("%s: %v after\n%s", s.name, err, s.printed.String())
	}
}

// Hear waits for the next line of its answer.
func (s *Session) Hear(t testing.TB) string {
	t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			t.Fatalf("%s has ended after\n%s", s.name, s.printed.String())
		}
		s.printed.WriteString(line + "\n")
		return line
	case <-time.After(Patience):
		t.Fatalf("%s says nothing more after\n%s", s.name, s.printed.String())
	}
	return ""
}

// End ends the script. The result's Stdout is what was not heard.
func (s *Session) End(t testing.TB) Result {
	t.Helper()
	_ = s.in.Close() // it may have ended
	r := Result{Command: s.name}
	for {
		select {
		case line, ok := <-s.lines:
			if ok {
				r.Stdout += line + "\n"
				continue
			}
			<-s.ended
			r.Code = s.cmd.ProcessState.ExitCode()
			return r
		case <-time.After(Patience):
			t.Fatalf("%s does not end after\n%s", s.name, s.printed.String())
		}
	}
}
