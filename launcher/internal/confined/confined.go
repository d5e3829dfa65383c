// Package confined changes a tree by paths from elsewhere. Nothing outside of the tree is touched, whatever links the
// application made in it: every name is opened below the directory that has it, and no link is followed (LIV-13).
package confined

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Temporary begins the names of files that are being written; whoever watches the tree leaves them alone.
const Temporary = ".packrunner-sync-"

const openDirectory = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// ErrPath is the answer to a path that is none of a tree.
var ErrPath = errors.New("not a path below the application")

// Tree is a directory that is changed. It is not for use by several goroutines at once.
type Tree struct {
	root int
	// The directory of the last change: many changes are made in one place.
	last     string
	lastOpen int
}

var serial atomic.Uint64

// Open opens the tree at path.
func Open(path string) (*Tree, error) {
	root, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Tree{root: root, lastOpen: -1}, nil
}

// Close closes it.
func (t *Tree) Close() {
	t.forget()
	unix.Close(t.root)
}

func (t *Tree) forget() {
	if t.lastOpen >= 0 {
		unix.Close(t.lastOpen)
		t.lastOpen = -1
	}
}

// Check returns ErrPath unless path is relative, without empty names, `.` and `..`.
func Check(path string) error {
	if path == "" || len(path) >= unix.PathMax || strings.ContainsRune(path, 0) {
		return ErrPath
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX {
			return ErrPath
		}
	}
	return nil
}

// above is the open directory that has the last name of path, made where it is not there, in the place of whatever
// else is; and that name. The descriptor stays the tree's.
func (t *Tree) above(path string, make bool) (int, string, error) {
	if err := Check(path); err != nil {
		return -1, "", err
	}
	cut := strings.LastIndexByte(path, '/')
	if cut < 0 {
		return t.root, path, nil
	}
	directory, name := path[:cut], path[cut+1:]
	if t.lastOpen >= 0 && t.last == directory && t.current() {
		return t.lastOpen, name, nil
	}
	t.forget()
	opened := t.root
	for part := range strings.SplitSeq(directory, "/") {
		next, err := step(opened, part, make)
		if opened != t.root {
			unix.Close(opened)
		}
		if err != nil {
			return -1, "", err
		}
		opened = next
	}
	t.last, t.lastOpen = directory, opened
	return opened, name, nil
}

// current reports whether the directory of the last change is still the one of that path.
func (t *Tree) current() bool {
	var opened, found unix.Stat_t
	if unix.Fstat(t.lastOpen, &opened) != nil || opened.Nlink == 0 {
		return false
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	again, err := unix.Openat2(t.root, t.last, how)
	if err != nil {
		return false // also where the kernel or a filter of system calls does not know openat2
	}
	defer unix.Close(again)
	return unix.Fstat(again, &found) == nil && found.Ino == opened.Ino && found.Dev == opened.Dev
}

func step(directory int, name string, make bool) (int, error) {
	opened, err := unix.Openat(directory, name, openDirectory, 0)
	if !make || !(errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)) {
		return opened, err
	}
	if err := makeDirectory(directory, name, 0o755); err != nil {
		return -1, err
	}
	return unix.Openat(directory, name, openDirectory, 0)
}

// makeDirectory makes one in the place of whatever else has its name.
func makeDirectory(directory int, name string, mode uint32) error {
	err := unix.Mkdirat(directory, name, mode)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if kind(directory, name) == unix.S_IFDIR {
		return nil
	}
	if err := unix.Unlinkat(directory, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return unix.Mkdirat(directory, name, mode)
}

// kind is the file type bits of what has the name; 0 where nothing has.
func kind(directory int, name string) uint32 {
	var found unix.Stat_t
	if unix.Fstatat(directory, name, &found, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0
	}
	return found.Mode & unix.S_IFMT
}

// Directory makes a directory, or gives one its mode.
func (t *Tree) Directory(path string, mode uint32) error {
	at, name, err := t.above(path, true)
	if err != nil {
		return err
	}
	if err := makeDirectory(at, name, 0o755); err != nil {
		return err
	}
	opened, err := unix.Openat(at, name, openDirectory, 0)
	if err != nil {
		return err
	}
	defer unix.Close(opened)
	return setMode(opened, mode|0o700)
}

// setMode changes a mode where it differs: whoever may write a file need not be its owner.
func setMode(file int, mode uint32) error {
	var found unix.Stat_t
	if err := unix.Fstat(file, &found); err != nil || found.Mode&0o7777 == mode {
		return err
	}
	return unix.Fchmod(file, mode)
}

// Link makes a symbolic link, wherever it points: nobody here follows it.
func (t *Tree) Link(path, target string) error {
	at, name, err := t.above(path, true)
	if err != nil {
		return err
	}
	temporary := temporaryName()
	if err := unix.Symlinkat(target, at, temporary); err != nil {
		return err
	}
	return place(at, temporary, name)
}

// Remove removes what is at path, with everything below it.
func (t *Tree) Remove(path string) error {
	at, name, err := t.above(path, false)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // what is below a link is not what was meant
	}
	if err != nil {
		return err
	}
	return removeAll(at, name)
}

func temporaryName() string {
	return fmt.Sprintf("%s%d-%d", Temporary, os.Getpid(), serial.Add(1))
}

// place gives a finished file or link its name.
func place(at int, temporary, name string) error {
	if kind(at, name) == unix.S_IFDIR {
		if err := removeAll(at, name); err != nil {
			unix.Unlinkat(at, temporary, 0)
			return err
		}
	}
	// A file that is renamed over another is written to the disk by ext4 first, which takes four times as long. Two names
	// that are exchanged are not, and readers see either file as before.
	if kind(at, name) == unix.S_IFREG && unix.Renameat2(at, temporary, at, name, unix.RENAME_EXCHANGE) == nil {
		return removeAll(at, temporary)
	}
	err := unix.Renameat(at, temporary, at, name)
	if err != nil {
		unix.Unlinkat(at, temporary, 0)
	}
	return err
}
