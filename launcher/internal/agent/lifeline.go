package agent

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lifelineCut is the exit code of an agent whose host is gone, as if it had been killed too.
const lifelineCut = 128 + int(unix.SIGKILL)

// HoldLifeline ends the agent, and with it the sandbox, when the pipe that descriptor reads from has no writer left.
// The parent's death signal is not enough: bwrap, run by root and without capabilities, may not signal an agent that
// has become another user (SBX-37, PRO-08).
func HoldLifeline(descriptor int) {
	go func() {
		var buffer [1]byte
		for {
			n, err := unix.Read(descriptor, buffer[:])
			if n > 0 || errors.Is(err, unix.EINTR) {
				continue
			}
			// What cannot be killed here ends with this process, which is PID 1.
			_, _ = killOthers()
			os.Exit(lifelineCut)
		}
	}()
}
