package agent

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// mostProcesses is how many processes and threads a command's user may have: enough for a parallel build on every
// processor at once, and an end to what multiplies for ever while the host can still answer.
func mostProcesses() uint64 {
	return uint64(max(4096, 256*runtime.NumCPU()))
}

// bound limits a command that was just started, and what it starts. The agent itself stays free to end them. Where the
// kernel refuses, the command was gone before: there is nothing to bound.
func bound(pid int) {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NPROC, nil, &limit); err != nil {
		return
	}
	most := min(mostProcesses(), limit.Max)
	limit = unix.Rlimit{Cur: min(most, limit.Cur), Max: most}
	_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &limit, nil)
}
