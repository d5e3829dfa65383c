package agent

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func initAgent(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], argv...)
	command.Env = []string{modeVariable + "=init", "PATH=/usr/bin:/bin", "MARK=seen"}
	return command
}

func exitCode(err error) int {
	if failure, ok := err.(*exec.ExitError); ok {
		return failure.ExitCode()
	}
	return 0
}

func TestInitPassesStdioEnvironmentAndCode(t *testing.T) {
	command := initAgent(t, "sh", "-c", `read line; echo "$line $MARK"; echo err >&2; exit 7`)
	command.Stdin = strings.NewReader("hello\n")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if string(out) != "hello seen\n" || stderr.String() != "err\n" || exitCode(err) != 7 {
		t.Fatalf("%q, %q, %v", out, stderr.String(), err)
	}
}

func TestInitForwardsSignals(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
	} {
		t.Run(name, func(t *testing.T) {
			const script = `for s in TERM INT HUP QUIT USR1 USR2 WINCH; do trap "echo $s; exit 5" $s; done; echo ready; while :; do sleep 0.05; done`
			command := initAgent(t, "sh", "-c", script)
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			lines.Scan()
			command.Process.Signal(signal)
			lines.Scan()
			got := lines.Text()
			if code := exitCode(command.Wait()); code != 5 || got != name {
				t.Fatalf("%q, exit code %d", got, code)
			}
		})
	}
}

func TestInitEndsWithItsProgramAndTakesTheRestAlong(t *testing.T) {
	began := time.Now()
	out, err := initAgent(t, "sh", "-c", "setsid sleep 60 & kill -9 $$").Output() // sleep holds the output open
	if len(out) != 0 || exitCode(err) != 137 || time.Since(began) > 5*time.Second {
		t.Fatalf("%q, %v after %v", out, err, time.Since(began))
	}
}

func TestInitExplains(t *testing.T) {
	for program, want := range map[string]struct {
		code int
		text string
	}{"nope-nope": {127, "is not in PATH"}, "/nope": {127, "/nope does not exist"}, "/": {126, "is a directory"}} {
		_, err := initAgent(t, program).Output()
		failure, ok := err.(*exec.ExitError)
		if !ok || failure.ExitCode() != want.code || !strings.Contains(string(failure.Stderr), want.text) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// SBX-37: when the host is gone, the agent and what it started are gone, although nobody could signal them.
func TestInitEndsWithItsLifeline(t *testing.T) {
	held, cut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := initAgent(t, "sh", "-c", "trap '' TERM HUP; ls /proc/self/fd | wc -l; while :; do sleep 1; done")
	command.Env[0] = modeVariable + "=lifeline"
	command.ExtraFiles = []*os.File{held}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	held.Close()
	lines := bufio.NewScanner(out)
	if lines.Scan(); strings.TrimSpace(lines.Text()) != "4" { // 0 to 2 and the directory that ls reads
		t.Errorf("the program has %q descriptors", lines.Text())
	}
	cut.Close()
	if code := exitCode(command.Wait()); code != lifelineCut {
		t.Errorf("exit code %d", code)
	}
	if lines.Scan() {
		t.Errorf("the program has outlived the agent: %q", lines.Text())
	}
}
