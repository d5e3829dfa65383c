package supervise

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reaper waits for every child: those that were started here, and the orphans that fall to a first process.
type Reaper struct {
	mutex    sync.Mutex
	children map[int]*child
	wake     chan struct{}
}

// child is the leader of a process group. Its result is valid once ended is closed.
type child struct {
	pid    int
	ended  chan struct{}
	seen   chan struct{} // closed when the supervisor knows, and has told
	status syscall.WaitStatus
}

func NewReaper() *Reaper {
	r := &Reaper{children: map[int]*child{}, wake: make(chan struct{}, 1)}
	go r.loop()
	return r
}

// start runs program, in such a way that its end cannot be missed.
func (r *Reaper) start(program string, argv []string, attributes *syscall.ProcAttr) (*child, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pid, err := syscall.ForkExec(program, argv, attributes)
	if err != nil {
		return nil, err
	}
	started := &child{pid: pid, ended: make(chan struct{}), seen: make(chan struct{})}
	r.children[pid] = started
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return started, nil
}

func (r *Reaper) loop() {
	for {
		// WNOWAIT leaves the zombie, so that its pid stays taken until the lock is held.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == nil:
			r.reap()
		case errors.Is(err, unix.ECHILD):
			<-r.wake
		}
	}
}

func (r *Reaper) reap() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended := r.children[pid]; ended != nil {
			delete(r.children, pid)
			ended.status = status
			close(ended.ended)
		}
	}
}

// signal sends to the child's process group, also to what is left of it once the leader has ended: a group's number
// stays taken while the group has members, so at worst this finds nobody.
func (c *child) signal(signal syscall.Signal) {
	syscall.Kill(-c.pid, signal)
}

// gone reports whether nobody of the group is left.
func (c *child) gone() bool {
	return errors.Is(syscall.Kill(-c.pid, 0), syscall.ESRCH)
}

// result is the exit code, 128 + n for signal n, and that signal or 0.
func (c *child) result() (code, signal int) {
	if c.status.Signaled() {
		signal = int(c.status.Signal())
		return 128 + signal, signal
	}
	return c.status.ExitStatus(), 0
}
