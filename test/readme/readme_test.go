package readme

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvd-db/kvd/test/cluster"
)

// claims are what the README says that commands do; each is an expression for what a command with
// these words prints.
var claims = []struct{ words, prints string }{
	{"get greeting", `hello, world`},
	{"keyspace create users", `users`},
	{"add visits 1", `1`},
	{"status", `live`},
	{"kvcli outcome", `"outcome":"(committed|aborted)"`},
	{"explain put", `"consensus_ms":[0-9]`},
}

// bobs are what bob may have before and after the commit whose answer is lost, by its outcome.
var bobs = map[string]string{"aborted": `"value":"20"`, "committed": `"value":"35"`}

// page is a document of the tree, and a session to run it in.
func page(t *testing.T, path string) (string, *session) {
	t.Helper()
	root, err := cluster.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, dir: t.TempDir(), env: cluster.Environment()}
	if err := os.Symlink(cluster.Build(t).Dir, filepath.Join(s.dir, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, m := range link.FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
			t.Errorf("%s has a link to %s: %v", path, m[1], err)
		}
	}
	return string(text), s
}

// link is a link to another file of the tree, or to a heading of one.
var link = regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)

// TestTransactionsPage runs what docs/transactions.md shows.
func TestTransactionsPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	text, s := page(t, "docs/transactions.md")
	c := cluster.Start(t, 3)
	c.WaitHealthy(t)
	s.env = append(s.env, "KVD_TARGET="+c.Target())
	lines, claims := Script(text), 0
	for _, l := range lines {
		s.run(l)
		if l.Prints != "" {
			claims++
		}
	}
	if len(lines) < 7 || claims < 3 {
		t.Errorf("the page has %d commands and %d claims: is the test looking at the right document?", len(lines), claims)
	}
}

// TestReadme runs all of it.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	text, s := page(t, "README.md")
	document, to := text, map[string]string{}
	named := Addresses(document)
	for i, free := range cluster.FreeAddresses(t, len(named)) {
		to[named[i]] = free
	}
	lines := Script(Moved(document, to, s.dir))
	claimed, bob := map[string]bool{}, ""
	for _, l := range lines {
		s.run(l)
		for _, c := range claims {
			if strings.Contains(l.Command, c.words) {
				claimed[c.words] = true
				s.match(l.Command, c.prints)
			}
		}
		if bob != "" && strings.HasSuffix(l.Command, "get bob") {
			s.expect(l.Command, bob) // the outcome was true
		}
		for outcome, value := range bobs {
			if strings.Contains(s.printed, `"outcome":"`+outcome) {
				bob = value
			}
		}
	}
	if len(lines) < 5 || len(claimed) < len(claims) || bob == "" || len(s.processes) == 0 {
		t.Errorf("the README has %d commands, %d processes and %d known claims: is the test looking at the right document?", len(lines), len(s.processes), len(claimed))
	}
	for _, p := range s.processes {
		p.stop(t)
	}
}

// session is a shell, as it were.
type session struct {
	t         *testing.T
	dir       string
	env       []string
	processes []*process
	waited    int // processes that are known to be ready
	printed   string
}

// run executes one line.
func (s *session) run(l Line) {
	s.t.Helper()
	if assignment, ok := strings.CutPrefix(l.Command, "export "); ok {
		s.env = append(s.env, assignment)
		return
	}
	if l.Background {
		s.processes = append(s.processes, s.start(l.Command))
		return
	}
	for ; s.waited < len(s.processes); s.waited++ {
		s.processes[s.waited].waitReady(s.t)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), cluster.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", l.Command)
	cmd.Dir, cmd.Env = s.dir, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Errorf("$ %s\n%s%s%v", l.Command, stdout.Bytes(), stderr.Bytes(), err)
	}
	s.printed = stdout.String()
	if l.Prints != "" {
		s.expect(l.Command, l.Prints)
	}
}

func (s *session) expect(command, text string) {
	s.t.Helper()
	if !strings.Contains(s.printed, text) {
		s.t.Errorf("$ %s\nis said to print %q, and prints %q", command, text, s.printed)
	}
}

func (s *session) match(command, expression string) {
	s.t.Helper()
	if !regexp.MustCompile(expression).MatchString(s.printed) {
		s.t.Errorf("$ %s\nis said to print what %q matches, and prints %q", command, expression, s.printed)
	}
}

// process is a command in the background.
type process struct {
	command string
	cmd     *exec.Cmd
	log     string
	ended   chan struct{}
}

func (s *session) start(command string) *process {
	s.t.Helper()
	p := &process{command: command, log: filepath.Join(s.dir, fmt.Sprintf("process-%d.log", len(s.processes))), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command("sh", "-c", "exec "+command)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.dir, s.env, log, log
	p.cmd.SysProcAttr = cluster.Attributes()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState has it
		close(p.ended)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may be gone
		<-p.ended
	})
	return p
}

func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// waitReady waits for the line that people see in their terminal, too.
func (p *process) waitReady(t *testing.T) {
	t.Helper()
	const pollEvery = 20 * time.Millisecond
	for end := time.Now().Add(cluster.Patience); !strings.Contains(p.said(), "ready "); {
		select {
		case <-p.ended:
			t.Fatalf("$ %s\n%s%s", p.command, p.said(), p.cmd.ProcessState)
		case <-time.After(pollEvery):
		}
		if time.Now().After(end) {
			t.Fatalf("$ %s\nis not ready after %s:\n%s", p.command, cluster.Patience, p.said())
		}
	}
}

// stop ends the process as Ctrl-C would.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Errorf("$ %s\n%s%v", p.command, p.said(), err)
		return
	}
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("$ %s\n%sends with exit code %d after SIGINT", p.command, p.said(), code)
		}
	case <-time.After(cluster.Patience):
		t.Errorf("$ %s\n%sstill runs %s after SIGINT", p.command, p.said(), cluster.Patience)
	}
}
