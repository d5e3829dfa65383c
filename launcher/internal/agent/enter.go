package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Entrance is how root's bwrap becomes an ordinary user's: what it may see, with which ids, and as whom it runs.
//
// An image's files belong to this host's ids on the disk, uid 0 among them. They are shown with their ids moved into a
// range that means nothing here, and the process that goes on has no id outside of that range either (decision 19).
type Entrance struct {
	First int      `json:"first"` // the host's id for uid and gid 0 inside
	Count int      `json:"count"`
	Stage string   `json:"stage"` // a directory to cover, in a mount namespace of our own, with what is shown
	Trees []Tree   `json:"trees"`
	Argv  []string `json:"argv"`
}

// Tree is one path of this host, shown at a path below the stage.
type Tree struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Shift  bool   `json:"shift"` // its files' ids are moved into the range, and it is read-only
}

// Enter does what the entrance at a descriptor says and becomes its program; it returns only when that fails.
func Enter(descriptor int) int {
	// A thread's namespace and credentials are those of the program that it executes.
	runtime.LockOSThread()
	entrance, err := readEntrance(descriptor)
	if err == nil {
		err = entrance.enter()
	}
	return complain(1, "%v", err)
}

func readEntrance(descriptor int) (Entrance, error) {
	var entrance Entrance
	file := os.NewFile(uintptr(descriptor), "entrance")
	defer file.Close()
	if err := json.NewDecoder(file).Decode(&entrance); err != nil {
		return entrance, fmt.Errorf("the entrance cannot be read: %w", err)
	}
	if entrance.First < 1<<16 || entrance.Count < 1 || len(entrance.Argv) == 0 {
		return entrance, errors.New("the entrance leads nowhere")
	}
	return entrance, nil
}

func (e Entrance) enter() error {
	namespace, err := e.idNamespace()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	mounts := make([]int, len(e.Trees))
	for i, tree := range e.Trees {
		if mounts[i], err = tree.clone(namespace); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", e.Stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("%s: %w", e.Stage, err)
	}
	for i, tree := range e.Trees {
		if err := tree.place(e.Stage, mounts[i]); err != nil {
			return err
		}
	}
	unix.Close(namespace)
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(e.First, e.First, e.First), syscall.Setresuid(e.First, e.First, e.First)); err != nil {
		return fmt.Errorf("becoming %d: %w", e.First, err)
	}
	return fmt.Errorf("%s: %w", e.Argv[0], syscall.Exec(e.Argv[0], e.Argv, nil))
}

// idNamespace makes the user namespace whose map moves ids; the process that it is made with ends at once.
func (e Entrance) idNamespace() (int, error) {
	gate, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(gate)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: e.First, Size: e.Count}}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"agent", "wait"}, &syscall.ProcAttr{
		Files: []uintptr{uintptr(gate)},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return -1, fmt.Errorf("a user namespace: %w", err)
	}
	namespace, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_, waited := syscall.Wait4(pid, nil, 0, nil)
	if err = errors.Join(err, waited); err != nil {
		return -1, fmt.Errorf("a user namespace: %w", err)
	}
	return namespace, nil
}

// Wait blocks until it is killed: it holds a namespace open.
func Wait() int {
	_, _ = unix.Read(0, make([]byte, 8))
	return 0
}

func (t Tree) clone(namespace int) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, t.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", t.Source, err)
	}
	if t.Shift {
		attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY, Userns_fd: uint64(namespace)}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attributes); err != nil {
			return -1, fmt.Errorf("%s cannot be shown with other ids (kernel 5.19 and a file system with idmapped mounts are needed): %w", t.Source, err)
		}
	}
	return fd, nil
}

func (t Tree) place(stage string, mount int) error {
	if !strings.HasPrefix(t.Target, stage+"/") {
		return fmt.Errorf("%s is not below %s", t.Target, stage)
	}
	var found unix.Stat_t
	err := unix.Fstat(mount, &found)
	if err == nil && found.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.MkdirAll(t.Target, 0o755)
	} else if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(t.Target), 0o755), os.WriteFile(t.Target, nil, 0o644))
	}
	if err == nil {
		err = unix.MoveMount(mount, "", unix.AT_FDCWD, t.Target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Target, err)
	}
	return nil
}
