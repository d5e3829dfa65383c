package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/explain"
	"packrunner/launcher/internal/frame"
)

const (
	killGrace  = 2 * time.Second        // from TERM to KILL when the time limit is reached
	quiet      = 250 * time.Millisecond // how long output of a command that has ended may pause
	afterwards = 2 * time.Second        // how long others may go on writing to an ended command's output
	pipeSize   = 1 << 20
)

// run is one command: a state machine over its two pipes, its end and its time limit, on one goroutine.
type run struct {
	id      uint32
	writer  *frame.Writer
	child   *child
	pipes   [2]int // read ends of stdout and stderr; -1 when closed
	owed    [2]int // bytes that were in the pipes when the command ended
	input   *input // nil for a command that reads nothing
	buffer  []byte
	limit   time.Time // when the next signal is due; zero for never
	timeout bool

	ended    bool
	lastData time.Time
	last     time.Time // reading ends here even if someone goes on writing
}

// start starts a command. A failure to start is an ExitReply; err is for the agent itself (no descriptors, memory).
func start(reaper *reaper, writer *frame.Writer, id uint32, request frame.RunRequest) (*run, *frame.ExitReply, error) {
	argv, env, cwd := frame.Strings(request.Argv), frame.Strings(request.Env), string(request.Cwd)
	if reply := refuse(argv, env, cwd); reply != nil {
		return nil, reply, nil
	}
	r := &run{id: id, writer: writer}
	var ends [2]int
	for i := range ends {
		var pair [2]int
		if err := unix.Pipe2(pair[:], unix.O_CLOEXEC); err != nil {
			closeAll(append(ends[:i], r.pipes[:i]...)...)
			return nil, nil, fmt.Errorf("pipe: %w", err)
		}
		grow(pair[0])
		r.pipes[i], ends[i] = pair[0], pair[1]
	}
	stdin, err := 0, error(nil)
	if request.Stdin {
		if stdin, r.input, err = newInput(); err != nil {
			closeAll(append(ends[:], r.pipes[:]...)...)
			return nil, nil, err
		}
	}
	r.child, err = reaper.start(func() (int, error) {
		return syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
			Dir: cwd, Env: env,
			Files: []uintptr{uintptr(stdin), uintptr(ends[0]), uintptr(ends[1])},
			Sys:   &syscall.SysProcAttr{Setsid: true, Credential: credential(request.User)},
		})
	})
	closeAll(ends[:]...)
	if stdin > 0 {
		unix.Close(stdin)
	}
	if err != nil {
		closeAll(r.pipes[:]...)
		r.input.end()
		return nil, notStarted(argv[0], cwd, err), nil
	}
	bound(r.child.pid)
	if request.TimeoutMS > 0 {
		r.limit = time.Now().Add(time.Duration(request.TimeoutMS) * time.Millisecond)
	}
	return r, nil, nil
}

// credential is for a command of another user than the agent, which only root of a namespace may start.
func credential(user []int) *syscall.Credential {
	if len(user) == 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(user[0]), Gid: uint32(user[1])}
}

// refuse answers what would start something other than was meant.
func refuse(argv, env []string, cwd string) *frame.ExitReply {
	if !filepath.IsAbs(argv[0]) {
		return &frame.ExitReply{Code: explain.NotFound, Error: fmt.Sprintf("%q is not an absolute path", argv[0])}
	}
	if !filepath.IsAbs(cwd) {
		return &frame.ExitReply{Code: explain.NotExecutable, Error: fmt.Sprintf("working directory %q is not an absolute path", cwd)}
	}
	for _, text := range append(append([]string{cwd}, argv...), env...) {
		if strings.IndexByte(text, 0) >= 0 {
			return &frame.ExitReply{Code: explain.NotExecutable, Error: "an argument, a variable or a path holds a NUL byte"}
		}
	}
	return nil
}

func notStarted(path, cwd string, cause error) *frame.ExitReply {
	// The kernel's answer does not say whether it was the directory that failed.
	if info, err := os.Stat(cwd); err != nil || !info.IsDir() {
		return &frame.ExitReply{Code: explain.NotExecutable, Error: fmt.Sprintf("working directory %s cannot be entered: it is no directory that uid %d can reach", cwd, os.Getuid())}
	}
	if err := unix.Access(cwd, unix.X_OK); err != nil {
		return &frame.ExitReply{Code: explain.NotExecutable, Error: fmt.Sprintf("working directory %s cannot be entered by uid %d: %v", cwd, os.Getuid(), err)}
	}
	text, code := explain.Start(path, cause)
	return &frame.ExitReply{Code: code, Error: text}
}

// follow streams the output until the command has ended and its pipes are done, then reports the end.
func (r *run) follow() (frame.ExitReply, error) {
	defer r.child.close()
	defer r.input.end()
	defer func() { closeAll(r.pipes[:]...) }()
	r.buffer = make([]byte, frame.HeaderSize+frame.MaxChunk)
	for !r.finished(time.Now()) {
		set := []unix.PollFd{
			{Fd: int32(r.pipes[0]), Events: unix.POLLIN},
			{Fd: int32(r.pipes[1]), Events: unix.POLLIN},
			{Fd: -1, Events: unix.POLLIN},
		}
		if !r.ended {
			set[2].Fd = int32(r.child.ended)
		}
		if _, err := unix.Poll(set, r.wait(time.Now())); err != nil && !errors.Is(err, unix.EINTR) {
			return frame.ExitReply{}, fmt.Errorf("poll: %w", err)
		}
		if set[2].Revents != 0 {
			r.end()
		}
		for i, kind := range [2]byte{frame.Stdout, frame.Stderr} {
			if set[i].Revents == 0 {
				continue
			}
			if err := r.forward(i, kind); err != nil {
				return frame.ExitReply{}, err
			}
		}
		r.enforce(time.Now())
	}
	if r.timeout {
		r.child.signalRest(syscall.SIGKILL)
	}
	reply := frame.ExitReply{TimedOut: r.timeout}
	reply.Code, reply.Signal = r.child.result()
	return reply, nil
}

// end notes that the command is gone. What it wrote is still owed; what others write is not waited for long.
func (r *run) end() {
	r.ended = true
	r.lastData = time.Now()
	r.last = r.lastData.Add(afterwards)
	for i, pipe := range r.pipes {
		if pipe >= 0 {
			r.owed[i], _ = unix.IoctlGetInt(pipe, unix.TIOCINQ)
		}
	}
}

func (r *run) finished(now time.Time) bool {
	if !r.ended {
		return false
	}
	if r.pipes[0] < 0 && r.pipes[1] < 0 {
		return true
	}
	if r.owed[0] > 0 || r.owed[1] > 0 {
		return false
	}
	return now.Sub(r.lastData) >= quiet || !now.Before(r.last)
}

// wait is the time in milliseconds until something is due without any event; -1 is for ever.
func (r *run) wait(now time.Time) int {
	due := r.limit
	if r.ended {
		due = r.lastData.Add(quiet)
		if r.last.Before(due) {
			due = r.last
		}
	}
	if due.IsZero() {
		return -1
	}
	return int(max(0, min(due.Sub(now)+time.Millisecond-1, time.Hour)) / time.Millisecond)
}

func (r *run) forward(i int, kind byte) error {
	n, err := unix.Read(r.pipes[i], r.buffer[frame.HeaderSize:])
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		unix.Close(r.pipes[i])
		r.pipes[i], r.owed[i] = -1, 0
		return nil
	}
	err = r.writer.SendChunk(kind, r.id, r.buffer[:frame.HeaderSize+n])
	r.owed[i] -= n
	r.lastData = time.Now()
	return err
}

// enforce applies the time limit: TERM to the group, and KILL after the grace.
func (r *run) enforce(now time.Time) {
	if r.ended || r.limit.IsZero() || now.Before(r.limit) {
		return
	}
	if r.timeout {
		r.child.signal(syscall.SIGKILL)
		r.limit = time.Time{}
		return
	}
	r.timeout = true
	r.child.signal(syscall.SIGTERM)
	r.limit = now.Add(killGrace)
}

func grow(pipe int) {
	// Beyond the user's quota the kernel refuses, and the pipe keeps its size.
	_, _ = unix.FcntlInt(uintptr(pipe), unix.F_SETPIPE_SZ, pipeSize)
}

func closeAll(descriptors ...int) {
	for _, descriptor := range descriptors {
		if descriptor >= 0 {
			unix.Close(descriptor)
		}
	}
}
