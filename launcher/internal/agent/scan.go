package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is longer than any tick of the kernel's clock for files: after it a change leaves another ctime.
const tick = 11 * time.Millisecond

// deepest is the number of directories that may lie in each other, as packrunner's own walk has it.
const deepest = 400

// Scan prints the fingerprint table of a tree, or of what is at or below one path of it; see packrunner/fingerprint.py.
func Scan(root string, below ...string) int {
	root, err := mounted(root)
	if err != nil {
		return complain(1, "%v", err)
	}
	table := newTable(root)
	start := ""
	if len(below) > 0 {
		start = below[0]
	}
	if err := table.walk(start, 0); err != nil && !os.IsNotExist(err) {
		return complain(1, "%v", err)
	}
	return table.print(os.Stdout)
}

// mounted is where a place really is: the image may have a link there, which the mount has followed.
func mounted(root string) (string, error) { return filepath.EvalSymlinks(root) }

// table collects the lines of entries, in the order of a walk.
type table struct {
	root   string
	lines  bytes.Buffer
	count  int
	newest int64
}

func newTable(root string) *table { return &table{root: root} }

// walk adds an entry and, of a directory, everything below it; names are in the order of their bytes.
func (t *table) walk(path string, depth int) error {
	isDirectory, err := t.add(path)
	if err != nil || !isDirectory {
		return err
	}
	if depth > deepest {
		return fmt.Errorf("%s: more than %d directories deep", path, deepest)
	}
	directory, err := os.Open(filepath.Join(t.root, path))
	if err != nil {
		return err
	}
	names, err := directory.Readdirnames(-1)
	directory.Close()
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, name := range names {
		if path != "" {
			name = path + "/" + name
		}
		if err := t.walk(name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// add writes one entry's line and says whether it is a directory, of which only the mode counts.
func (t *table) add(path string) (isDirectory bool, err error) {
	var found unix.Stat_t
	if err := unix.Lstat(filepath.Join(t.root, path), &found); err != nil {
		return false, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	t.count++
	shown := strings.ReplaceAll(path, "\n", "\x00")
	if found.Mode&unix.S_IFMT == unix.S_IFDIR {
		fmt.Fprintf(&t.lines, "%o 0 0 0 0 %s\n", found.Mode, shown)
		return true, nil
	}
	changed := found.Ctim.Nano()
	t.newest = max(t.newest, changed)
	fmt.Fprintf(&t.lines, "%o %d %d %d %d %s\n", found.Mode, found.Size, found.Mtim.Nano(), changed, found.Ino, shown)
	return false, nil
}

// print waits until no later change could leave a ctime that is in the table, and writes it.
func (t *table) print(target io.Writer) int {
	time.Sleep(min(tick, time.Until(time.Unix(0, t.newest).Add(tick))))
	out := bufio.NewWriterSize(target, 1<<20)
	fmt.Fprintf(out, "packrunner-tree 1 %d %d\n", t.count, t.newest)
	_, _ = out.Write(t.lines.Bytes())
	if err := out.Flush(); err != nil {
		return complain(1, "%v", err)
	}
	return 0
}
