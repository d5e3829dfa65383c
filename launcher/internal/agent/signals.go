package agent

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	lastSignal   = 64
	maskBytes    = lastSignal / 8
	ignoreSignal = 1 // SIG_IGN
)

// kernelAction is the kernel's struct sigaction on amd64 and arm64.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// NormalizeSignals undoes what the agent's parent left: ignored and blocked signals are inherited by every command
// (PRO-10). Go keeps the mask it was started with for all its threads, so a mask is cleared by starting again.
func NormalizeSignals() error {
	for number := uintptr(1); number <= lastSignal; number++ {
		var action kernelAction
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, number, 0, uintptr(unsafe.Pointer(&action)), maskBytes, 0, 0); errno != 0 {
			continue // reserved for the C library
		}
		if action.handler == ignoreSignal {
			action = kernelAction{}
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, number, uintptr(unsafe.Pointer(&action)), 0, maskBytes, 0, 0)
		}
	}
	var blocked, none uint64
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), uintptr(unsafe.Pointer(&blocked)), maskBytes, 0, 0); errno != 0 {
		return errno
	}
	if blocked == 0 {
		return nil
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// shrugOff catches what would end the agent when a command sends it: PID 1 is spared only by signals that nobody
// handles, and Go's runtime handles them all. Catching, unlike ignoring, is not inherited by commands (SBX-26).
func shrugOff() {
	// Nobody reads: the package drops what does not fit.
	signal.Notify(make(chan os.Signal), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP,
		syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGSTKFLT, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGVTALRM,
		syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS)
}
