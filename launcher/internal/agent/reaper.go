package agent

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// reaper waits for every child: those that the agent started, and the orphans that fall to it as PID 1.
type reaper struct {
	mutex    sync.Mutex
	children map[int]*child
	wake     chan struct{}
}

// child is a process that the agent started. It is the leader of its process group.
type child struct {
	reaper *reaper
	pid    int
	ended  int // an eventfd, readable once the child has been reaped
	reaped bool
	status syscall.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{children: map[int]*child{}, wake: make(chan struct{}, 1)}
	go r.loop()
	return r
}

// start runs fork, which returns a new child's pid, in such a way that the child cannot be reaped unnoticed.
func (r *reaper) start(fork func() (int, error)) (*child, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pid, err := fork()
	if err != nil {
		unix.Close(event)
		return nil, err
	}
	started := &child{reaper: r, pid: pid, ended: event}
	r.children[pid] = started
	r.nudge()
	return started, nil
}

// nudge makes the loop look again when it had no child to wait for.
func (r *reaper) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reaper) loop() {
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

func (r *reaper) reap() {
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
			ended.status, ended.reaped = status, true
			unix.Write(ended.ended, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
}

// signal sends to the child's process group, or does nothing once the child has been reaped.
func (c *child) signal(signal syscall.Signal) {
	c.reaper.mutex.Lock()
	defer c.reaper.mutex.Unlock()
	if !c.reaped {
		syscall.Kill(-c.pid, signal)
	}
}

// signalRest sends to what is left of the group of a child that has been reaped. A group's number stays taken while
// the group has members, so at worst this finds nobody.
func (c *child) signalRest(signal syscall.Signal) {
	syscall.Kill(-c.pid, signal)
}

// signalLeader is signal for the child alone.
func (c *child) signalLeader(signal syscall.Signal) {
	c.reaper.mutex.Lock()
	defer c.reaper.mutex.Unlock()
	if !c.reaped {
		syscall.Kill(c.pid, signal)
	}
}

// result is the exit code, 128 + n for signal n, and that signal or 0. It is valid once `ended` is readable.
func (c *child) result() (code, signal int) {
	c.reaper.mutex.Lock()
	defer c.reaper.mutex.Unlock()
	if c.status.Signaled() {
		signal = int(c.status.Signal())
		return 128 + signal, signal
	}
	return c.status.ExitStatus(), 0
}

func (c *child) close() {
	unix.Close(c.ended)
}
