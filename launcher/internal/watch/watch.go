package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pollEvery = 500 * time.Millisecond
	// Polling takes at most this part of the time.
	pollShare = 20
)

// silent are the file systems that tell of no change that was made elsewhere: network and virtual machine shares.
var silent = map[int64]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "FUSE", unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS",
	0x786f4256: "vboxsf",
}

// Watcher watches one tree.
type Watcher struct {
	tree  *Tree
	ready chan<- struct{}
	Why   string // the reason for polling; empty for inotify
	stop  chan struct{}
	pause chan time.Duration // until the next poll
}

// Start watches the tree at root, whose files are taken as known. In directories that ignores names nothing matters.
// ready, which has room for one, gets something when something may have changed.
func Start(root string, poll bool, ready chan<- struct{}, ignores func(path string) bool) *Watcher {
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	w := &Watcher{tree: newTree(root, ignores), ready: ready}
	w.begin(poll)
	w.tree.lookAtAll()
	w.check()
	return w
}

// Resume begins again after Stop, with what was known then: the changes since are returned.
func (w *Watcher) Resume(poll bool) []string {
	w.begin(poll)
	changed := w.tree.lookAtAll()
	w.check()
	return changed
}

// Stop ends it, and frees what it holds; what is known stays.
func (w *Watcher) Stop() {
	if w.tree.events != nil {
		w.tree.events.close()
		w.tree.events = nil
	}
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

func (w *Watcher) begin(poll bool) {
	w.Why = ""
	if poll {
		w.poll("asked for")
		return
	}
	if name := silentName(w.tree.root); name != "" {
		w.poll(name + " tells of no changes")
		return
	}
	gathered, err := newEvents(w.ready)
	if err != nil {
		w.poll(explain(err))
		return
	}
	w.tree.events = gathered
}

func silentName(path string) string {
	var found unix.Statfs_t
	if unix.Statfs(path, &found) != nil {
		return ""
	}
	return silent[int64(found.Type)]
}

// check goes over to polling where not all of the tree can be watched.
func (w *Watcher) check() {
	if w.tree.events == nil {
		return
	}
	if w.tree.known[""] == nil {
		w.Stop()
		w.poll("it was removed, and may come back")
	} else if err := w.tree.events.problem(); err != nil {
		w.Stop()
		w.poll(explain(err))
	}
}

func explain(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "too many directories are watched on this machine; sysctl fs.inotify.max_user_watches is the limit"
	case errors.Is(err, unix.EMFILE):
		return "too many programs watch files on this machine; sysctl fs.inotify.max_user_instances is the limit"
	}
	return fmt.Sprintf("inotify: %v", err)
}

// poll says at intervals that something may have changed.
func (w *Watcher) poll(why string) {
	stop, pause := make(chan struct{}), make(chan time.Duration, 1)
	w.Why, w.stop, w.pause = why, stop, pause
	pause <- pollEvery
	go func() {
		for {
			select {
			case next := <-pause: // it has been looked
				select {
				case <-time.After(next):
					signal(w.ready)
				case <-stop:
					return
				}
			case <-stop:
				return
			}
		}
	}()
}

func signal(ready chan<- struct{}) {
	select {
	case ready <- struct{}{}:
	default:
	}
}

// Look returns the paths that have changed since the last time, in places that events point to.
func (w *Watcher) Look() []string {
	if w.tree.events == nil {
		return w.LookAtAll()
	}
	dirty, all := w.tree.events.take()
	var changed []string
	if all {
		changed = w.tree.lookAtAll()
	} else {
		changed = w.tree.look(dirty)
	}
	w.check()
	return changed
}

// LookAtAll is Look for the whole tree.
func (w *Watcher) LookAtAll() []string {
	began := time.Now()
	changed := w.tree.lookAtAll()
	if w.stop != nil {
		select {
		case w.pause <- max(pollEvery, pollShare*time.Since(began)):
		default:
		}
	}
	w.check()
	return changed
}
