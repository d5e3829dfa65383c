// Package watch finds out which files of a tree have changed. inotify only says where to look: what has changed is
// what a stat tells otherwise than the last time, so an event too many does no harm, and after one too few, such as
// when the kernel's queue was full, the whole tree is looked at.
package watch

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/confined"
)

// identity changes with every change of a file: nobody can set the ctime.
type identity struct {
	device, inode uint64
	size          int64
	mode          uint32
	modified      unix.Timespec
	changed       unix.Timespec
}

// directory is one that is looked into.
type directory struct {
	device, inode uint64
	watch         int // of inotify; 0 for none
	files         map[string]identity
	below         map[string]bool
}

// Tree is what is known of the files below root. It is not for use by several goroutines at once.
type Tree struct {
	root    string
	ignores func(path string) bool // a directory in which nothing matters
	known   map[string]*directory  // by path relative to root, "" for itself
	events  *events                // nil when polling
}

func newTree(root string, ignores func(path string) bool) *Tree {
	return &Tree{root: root, ignores: ignores, known: map[string]*directory{}}
}

// look compares what may have changed with what is known, and returns the paths of files and links that have.
func (t *Tree) look(dirty map[string]map[string]bool) []string {
	changes := changes{}
	for where, names := range dirty {
		if t.known[where] == nil {
			continue // its own directory is dirty too
		}
		for name := range names {
			t.entry(where, name, changes)
		}
	}
	return changes.paths()
}

// lookAtAll compares the whole tree with what is known.
func (t *Tree) lookAtAll() []string {
	changes := changes{}
	t.enter("", changes)
	return changes.paths()
}

// changes are the paths that have changed.
type changes map[string]bool

func (c changes) paths() []string {
	found := make([]string, 0, len(c))
	for each := range c {
		found = append(found, each)
	}
	return found
}

// enter looks at a directory and all below it, those that are new as well as those that are gone.
func (t *Tree) enter(where string, changed changes) {
	var found unix.Stat_t
	full := filepath.Join(t.root, where)
	if unix.Lstat(full, &found) != nil || found.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.forget(where, changed)
		return
	}
	known := t.known[where]
	if known != nil && (known.device != found.Dev || known.inode != found.Ino) {
		t.forget(where, changed)
		known = nil
	}
	if known == nil {
		known = &directory{device: found.Dev, inode: found.Ino, files: map[string]identity{}, below: map[string]bool{}}
		t.known[where] = known
	}
	// The watch comes first: what is made before it is seen by the listing, what is made later by the watch.
	if t.events != nil {
		known.watch = t.events.add(full, where)
	}
	names := map[string]bool{}
	for name := range known.files {
		names[name] = true
	}
	for name := range known.below {
		names[name] = true
	}
	listed, err := os.Open(full)
	if err == nil {
		found, _ := listed.Readdirnames(-1)
		listed.Close()
		for _, name := range found {
			names[name] = true
		}
	}
	for name := range names {
		t.entry(where, name, changed)
	}
}

// entry looks at one name of a directory.
func (t *Tree) entry(where, name string, changed changes) {
	if strings.HasPrefix(name, confined.Temporary) {
		return
	}
	at, parent := path.Join(where, name), t.known[where]
	var found unix.Stat_t
	kind := uint32(0)
	if unix.Lstat(filepath.Join(t.root, at), &found) == nil {
		kind = found.Mode & unix.S_IFMT
	}
	if kind != unix.S_IFDIR && parent.below[name] {
		t.forget(at, changed)
		delete(parent.below, name)
	}
	if kind != unix.S_IFREG && kind != unix.S_IFLNK {
		if _, was := parent.files[name]; was {
			delete(parent.files, name)
			changed[at] = true
		}
	}
	switch kind {
	case unix.S_IFDIR:
		if t.ignores(at) {
			return
		}
		parent.below[name] = true
		t.enter(at, changed)
	case unix.S_IFREG, unix.S_IFLNK:
		now := identity{found.Dev, found.Ino, found.Size, found.Mode, found.Mtim, found.Ctim}
		if was, there := parent.files[name]; !there || was != now {
			parent.files[name] = now
			changed[at] = true
		}
	}
}

// forget drops a directory that is gone; its files have changed.
func (t *Tree) forget(where string, changed changes) {
	known := t.known[where]
	if known == nil {
		return
	}
	delete(t.known, where)
	if t.events != nil {
		t.events.drop(known.watch, where)
	}
	for name := range known.files {
		changed[path.Join(where, name)] = true
	}
	for name := range known.below {
		t.forget(path.Join(where, name), changed)
	}
}
