package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/explain"
)

// Init is PID 1 around one program that has the agent's own stdio and environment: it passes signals on, reaps, and
// ends with the program, whose exit code it returns.
func Init(identity Identity, cwd string, argv []string) int {
	if err := closeOnExec(3); err != nil {
		return complain(1, "close on exec: %v", err)
	}
	if err := harden(identity); err != nil {
		return complain(1, "%v", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	if err := os.Chdir(cwd); err != nil {
		return complain(explain.NotExecutable, "%v", err)
	}
	path, err := exec.LookPath(argv[0])
	switch {
	case err == nil:
	case strings.Contains(argv[0], "/"):
		path = argv[0] // starting it gives the reason
	default:
		return complain(explain.NotFound, "%q is not in PATH (%s)", argv[0], os.Getenv("PATH"))
	}
	reaper := newReaper()
	program, err := reaper.start(func() (int, error) {
		return syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	})
	if err != nil {
		text, code := explain.Start(path, err)
		return complain(code, "%s", text)
	}
	go forward(signals, program)
	waitFor(program)
	code, _ := program.result()
	killOthers()
	return code
}

// Exec becomes a program that is looked up in PATH; it returns only when that fails.
func Exec(argv []string) int {
	path, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return complain(explain.NotFound, "%q is not in PATH (%s)", argv[0], os.Getenv("PATH"))
	}
	text, code := explain.Start(path, syscall.Exec(path, argv, os.Environ()))
	return complain(code, "%s", text)
}

// forward passes signals to the program, but not those that the terminal has sent to it as well.
func forward(signals <-chan os.Signal, program *child) {
	_, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	onTerminal := err == nil
	for received := range signals {
		switch received {
		case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
			if onTerminal {
				continue
			}
		}
		program.signalLeader(received.(syscall.Signal))
	}
}

// waitFor returns when the child has been reaped.
func waitFor(program *child) {
	set := []unix.PollFd{{Fd: int32(program.ended), Events: unix.POLLIN}}
	for set[0].Revents == 0 {
		if _, err := unix.Poll(set, -1); err != nil && err != unix.EINTR {
			panic(err) // the arguments are ours: this is a bug
		}
	}
}

func complain(code int, format string, details ...any) int {
	fmt.Fprintf(os.Stderr, "packrunner agent: "+format+"\n", details...)
	return code
}
