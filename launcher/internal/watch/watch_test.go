package watch

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(t *testing.T, files ...string) (*Watcher, string, chan struct{}) {
	t.Helper()
	root := t.TempDir()
	for _, file := range files {
		write(t, root, file, "old")
	}
	ready := make(chan struct{}, 1)
	w := Start(root, false, ready, func(path string) bool { return path == "ignored" })
	t.Cleanup(w.Stop)
	if w.Why != "" {
		t.Skip(w.Why)
	}
	return w, root, ready
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
}

// until gathers what changes until all that is wanted was seen.
func until(t *testing.T, w *Watcher, ready <-chan struct{}, want ...string) {
	t.Helper()
	seen := map[string]bool{}
	for deadline := time.After(10 * time.Second); ; {
		if !slices.ContainsFunc(want, func(path string) bool { return !seen[path] }) {
			return
		}
		select {
		case <-ready:
		case <-deadline:
			t.Fatalf("only %v", seen)
		}
		for _, path := range w.Look() {
			seen[path] = true
		}
	}
}

func TestAfterAnOverflowTheWholeTreeIsLookedAt(t *testing.T) { // LIV-06
	w, root, _ := start(t, "a", "d/b", "d/gone")
	lost := w.tree.events
	lost.file.Close() // whatever happens now, no event comes
	gathered, err := newEvents(make(chan struct{}, 1))
	if err != nil {
		t.Fatal(err)
	}
	w.tree.events = gathered
	write(t, root, "d/b", "new")
	write(t, root, "e/f/g", "new")
	os.Remove(filepath.Join(root, "d/gone"))
	expect(t, w.Look())
	overflow := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(overflow, 0xffffffff)
	binary.NativeEndian.PutUint32(overflow[4:], unix.IN_Q_OVERFLOW)
	gathered.gather(overflow)
	expect(t, w.Look(), "d/b", "d/gone", "e/f/g")
	expect(t, w.Look())
}

func TestToLookCausesNoEvents(t *testing.T) { // LIV-07
	w, root, ready := start(t, "a", "d/b")
	write(t, root, "d/b", "new")
	until(t, w, ready, "d/b")
	for range 3 {
		w.LookAtAll()
		os.ReadFile(filepath.Join(root, "a"))
	}
	select {
	case <-ready:
		t.Errorf("ready again: %v", w.Look())
	case <-time.After(50 * time.Millisecond):
	}
}

func TestWhereNotAllCanBeWatchedItIsPolled(t *testing.T) { // LIV-08
	for _, one := range []struct {
		err  error
		want string
	}{{unix.ENOSPC, "sysctl fs.inotify.max_user_watches"}, {unix.EMFILE, "sysctl fs.inotify.max_user_instances"}} {
		w, root, ready := start(t, "a")
		w.tree.events.failed = one.err
		w.check()
		if !strings.Contains(w.Why, one.want) {
			t.Errorf("%v: %s", one.err, w.Why)
		}
		write(t, root, "d/new", "x")
		until(t, w, ready, "d/new")
	}
}

func TestLinksAreNotFollowed(t *testing.T) { // LIV-09
	elsewhere := t.TempDir()
	w, root, ready := start(t, "a")
	os.Symlink("..", filepath.Join(root, "up"))
	os.Symlink(elsewhere, filepath.Join(root, "out"))
	os.Symlink("loop", filepath.Join(root, "loop"))
	until(t, w, ready, "up", "out", "loop")
	write(t, elsewhere, "file", "x")
	expect(t, w.LookAtAll())
}

func TestIgnoredDirectoriesAreNotWatched(t *testing.T) { // LIV-10
	w, root, ready := start(t, "a", "ignored/deep/x")
	for n := range 50 {
		write(t, root, fmt.Sprint("ignored/deep/", n), "x")
	}
	select {
	case <-ready:
		t.Errorf("ready: %v", w.Look())
	case <-time.After(50 * time.Millisecond):
	}
	expect(t, w.LookAtAll())
}

func TestAMovedDirectoryIsWatchedInItsNewPlace(t *testing.T) { // LIV-04
	w, root, ready := start(t, "a/x/1", "b/y")
	os.Rename(filepath.Join(root, "a/x"), filepath.Join(root, "b/z"))
	until(t, w, ready, "a/x/1", "b/z/1")
	write(t, root, "b/z/1", "new")
	until(t, w, ready, "b/z/1")
	// Either of its two names may be looked at first.
	from, to := "b", "c"
	for range 10 {
		os.Rename(filepath.Join(root, from), filepath.Join(root, to))
		until(t, w, ready, from+"/y", from+"/z/1", to+"/y", to+"/z/1")
		write(t, root, to+"/z/1", "new")
		until(t, w, ready, to+"/z/1")
		from, to = to, from
	}
}

func TestManyChangesCostNothingThatStays(t *testing.T) { // LIV-16
	w, root, ready := start(t, "d/a")
	count := func() int {
		open, _ := os.ReadDir("/proc/self/fd")
		return len(open)
	}
	before, watches := count(), len(w.tree.events.paths)
	for n := range 1000 {
		write(t, root, "d/a", fmt.Sprint(n))
		write(t, root, "new/b", fmt.Sprint(n))
		os.RemoveAll(filepath.Join(root, "new"))
		if n%10 == 0 {
			<-ready
			w.Look()
		}
	}
	until(t, w, ready, "d/a")
	w.Look()
	if now := count(); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	if now := len(w.tree.events.paths); now != watches {
		t.Errorf("%d watches, %d before", now, watches)
	}
}
