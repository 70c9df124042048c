package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one run of kvd.
type process struct {
	cmd   *exec.Cmd
	ready chan string   // its ready line; closed when it says no more
	ended chan struct{} // closed when it is gone and its log is complete
	asked atomic.Bool   // somebody meant it to end, or waits for it to
}

// launch starts kvd; what it says is appended to the file at logPath.
func launch(binary string, args []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(binary, args...), ready: make(chan string, 1), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.SysProcAttr = Environment(), Attributes()
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	go func() {
		defer close(p.ended)
		p.listen(stderr, log)
		_ = p.cmd.Wait() // ProcessState says how it ended
	}()
	return p, nil
}

// listen writes down what the process says, and hands out its ready line.
func (p *process) listen(from io.Reader, log *os.File) {
	defer close(p.ready)
	defer log.Close()
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			_, _ = log.WriteString(line) // a test without its log still runs
		}
		if strings.HasPrefix(line, "ready ") {
			select {
			case p.ready <- strings.TrimSpace(line):
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends a signal. That the process is gone is no error.
func (p *process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// kill ends the process without warning, even a stopped one.
func (p *process) kill() {
	p.asked.Store(true)
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.ended
}

// wait waits until the process has ended, and returns its exit code; -1 for a signal.
func (p *process) wait(patience time.Duration) (code int, err error) {
	p.asked.Store(true)
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("it still runs after %s", patience)
	}
}
