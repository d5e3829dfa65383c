package follow

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// often is after how many restarts in a row, each right after a change of the same file, it is taken for the
// application's own.
const often = 10

// own are files that the application writes itself, such as its database: to restart it for them would never end.
type own map[string]int

// without leaves out the files that a supervised process has open for writing, now or when it was seen before.
func (o own) without(root string, paths []string) []string {
	written := map[[2]uint64]string{}
	var found []string
	for _, path := range paths {
		if o[path] >= often {
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
		o[path] = often
	}
	kept := found[:0]
	for _, path := range found {
		if o[path] < often {
			kept = append(kept, path)
		}
	}
	return kept
}

// repeated leaves out what keeps changing right after restarts, and says so once.
func (o own) repeated(paths []string, soonAfter bool, say func(format string, values ...any)) []string {
	if !soonAfter {
		for path, times := range o {
			if times < often {
				delete(o, path)
			}
		}
		return paths
	}
	var kept []string
	for _, path := range paths {
		if o[path]++; o[path] < often {
			kept = append(kept, path)
		} else {
			say("%s changes after each restart: the application writes it, so it is left alone from now on", path)
		}
	}
	return kept
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
