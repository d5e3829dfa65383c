package follow

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A file that has changed right after that many restarts in a row may be written at each start. It is acted on all the
// same, each time later than before.
const (
	often     = 10
	lastPause = time.Minute
)

// own are files that the application writes itself, such as its database: to restart it for them would never end.
type own struct {
	written map[string]bool // it had them open for writing
	repeats map[string]int  // changes right after restarts
}

// without leaves out the files that a supervised process has open for writing, now or when it was seen before.
func (o *own) without(root string, paths []string) []string {
	written := map[[2]uint64]string{}
	var found []string
	for _, path := range paths {
		if o.written[path] {
			continue
		}
		var stat unix.Stat_t
		if unix.Lstat(filepath.Join(root, path), &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG {
			written[[2]uint64{stat.Dev, stat.Ino}] = path
		}
		found = append(found, path)
	}
	if len(written) == 0 {
		return found
	}
	for _, path := range openForWriting(written) {
		o.written[path] = true
	}
	return slices.DeleteFunc(found, func(path string) bool { return o.written[path] })
}

// pause is how long to wait before these changes are acted on: not at all, unless all of them keep coming.
func (o *own) pause(paths []string, soonAfter bool) time.Duration {
	if !soonAfter {
		clear(o.repeats)
	}
	least := often + 10
	for _, path := range paths {
		o.repeats[path]++
		least = min(least, o.repeats[path]-often)
	}
	if least < 0 {
		return 0
	}
	return min(time.Second<<least, lastPause)
}

// openForWriting are those of the files, by device and inode, that a process below a supervisor has open.
func openForWriting(files map[[2]uint64]string) []string {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []string
	for _, process := range processes {
		if program, err := os.Readlink(process + "/exe"); err != nil || program == self {
			continue // of others, or our own
		}
		descriptors, err := filepath.Glob(process + "/fd/[0-9]*")
		if err != nil {
			continue
		}
		for _, descriptor := range descriptors {
			var stat unix.Stat_t
			if unix.Stat(descriptor, &stat) != nil {
				continue
			}
			path, meant := files[[2]uint64{stat.Dev, stat.Ino}]
			if meant && writes(process, filepath.Base(descriptor)) && supervised(process, self) {
				found = append(found, path)
			}
		}
	}
	return found
}

// writes reports whether a descriptor was opened for writing.
func writes(process, descriptor string) bool {
	text, err := os.ReadFile(process + "/fdinfo/" + descriptor)
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "flags:\t")
	octal, _, _ := strings.Cut(rest, "\n")
	flags, err := strconv.ParseUint(octal, 8, 32)
	return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
}

// supervised reports whether one of the processes above is a supervisor.
func supervised(process, self string) bool {
	for {
		text, err := os.ReadFile(process + "/stat")
		if err != nil {
			return false
		}
		// The name, in parentheses, may have anything in it.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 2 || fields[1] == "0" {
			return false
		}
		process = "/proc/" + fields[1]
		if program, err := os.Readlink(process + "/exe"); err == nil && program == self {
			return true
		}
	}
}
