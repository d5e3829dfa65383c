package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// sweepLimit is how long killed processes may take to go; only one stuck in the kernel takes longer than moments.
const sweepLimit = 10 * time.Second

// endOthers kills every other process in the sandbox until none is left. New ones cannot outrun it: KILL goes to all
// at once, again and again. Outside a PID namespace of its own the agent touches its descendants only.
func endOthers(reaper *reaper) error {
	deadline := time.Now().Add(sweepLimit)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		left, err := killOthers()
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sweep: process %d does not end", left[0])
		}
		reaper.nudge()
		time.Sleep(pause)
	}
}

// killOthers kills once and returns who was there after that, zombies included.
func killOthers() ([]int, error) {
	if os.Getpid() == 1 {
		if err := syscall.Kill(-1, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, err
		}
		return others()
	}
	left, err := descendants()
	for _, pid := range left {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return left, err
}

// others lists all processes but this one.
func others() ([]int, error) {
	found, err := processes()
	self := os.Getpid()
	for i, pid := range found {
		if pid == self {
			return append(found[:i], found[i+1:]...), err
		}
	}
	return found, err
}

// descendants lists the processes below this one. As a subreaper it is the parent of their orphans.
func descendants() ([]int, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, pid := range all {
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	var found []int
	for queue := children[os.Getpid()]; len(queue) > 0; queue = queue[1:] {
		found = append(found, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return found, nil
}

func processes() ([]int, error) {
	directory, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

// parentOf reads the field after the state in /proc/<pid>/stat; the name before it may hold anything but ends in ')'.
func parentOf(pid int) (int, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return parent, err == nil
}
