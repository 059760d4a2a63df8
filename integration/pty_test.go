//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ptyProgram is a program in a terminal of its own.
type ptyProgram struct {
	cmd     *exec.Cmd
	shown   *os.File // the other end of the terminal
	written *lockedLog
	ended   chan struct{} // the terminal is closed
}

// openTerminal returns the two ends of a pseudo-terminal: who shows it, and the
// program in it.
func openTerminal(t *testing.T, columns, rows uint16) (shown, program *os.File) {
	t.Helper()
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shown.Close() })
	fd := int(shown.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	resize(t, shown, columns, rows)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return shown, program
}

func resize(t *testing.T, terminal *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// startInTerminal starts a program whose controlling terminal is a new one. It is killed
// when the test ends, if it runs then.
func startInTerminal(t *testing.T, columns, rows uint16, cmd *exec.Cmd) *ptyProgram {
	t.Helper()
	shown, program := openTerminal(t, columns, rows)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	p := &ptyProgram{cmd: cmd, shown: shown, written: new(lockedLog), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := shown.Read(buffer)
			_, _ = p.written.Write(buffer[:n])
			if err != nil {
				return // the program has ended
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended already, mostly
		_ = cmd.Wait()
		<-p.ended
		if t.Failed() {
			t.Logf("the terminal got %q", p.written.String())
		}
	})
	return p
}

// text returns all that the program has written.
func (p *ptyProgram) text() string { return p.written.String() }

// press sends keys.
func (p *ptyProgram) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.shown.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the program's end.
func (p *ptyProgram) wait() error {
	err := p.cmd.Wait()
	<-p.ended
	return err
}
