package watch

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Openings and reads are left out, so that looking causes no events; writes too, because a file is looked at when it is
// closed (LIV-07).
const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK

const readAtOnce = 64 << 10

// events are those of inotify, gathered until somebody takes them.
type events struct {
	file  *os.File
	ready chan<- struct{}

	mutex  sync.Mutex
	paths  map[int]string
	dirty  map[string]map[string]bool // names by the directory that has them
	all    bool                       // some are missing
	failed error                      // a directory could not be watched
}

func newEvents(ready chan<- struct{}) (*events, error) {
	descriptor, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	e := &events{
		file: os.NewFile(uintptr(descriptor), "inotify"), ready: ready,
		paths: map[int]string{}, dirty: map[string]map[string]bool{},
	}
	go e.read()
	return e, nil
}

func (e *events) close() {
	e.file.Close()
}

// add watches a directory and returns the number of the watch, 0 for none.
func (e *events) add(full, where string) int {
	number := -1
	control, err := e.file.SyscallConn()
	if err == nil {
		controlled := control.Control(func(descriptor uintptr) {
			number, err = unix.InotifyAddWatch(int(descriptor), full, mask)
		})
		err = errors.Join(controlled, err)
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EACCES) {
			e.failed = err
		}
		return 0
	}
	e.paths[number] = where
	return number
}

// drop ends a watch, unless a directory that was moved has taken it along.
func (e *events) drop(number int, where string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if number == 0 || e.paths[number] != where {
		return
	}
	delete(e.paths, number)
	if control, err := e.file.SyscallConn(); err == nil {
		control.Control(func(descriptor uintptr) { unix.InotifyRmWatch(int(descriptor), uint32(number)) })
	}
}

// take returns what has gathered. all: look at the whole tree.
func (e *events) take() (dirty map[string]map[string]bool, all bool) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	dirty, all = e.dirty, e.all
	e.dirty, e.all = map[string]map[string]bool{}, false
	return dirty, all
}

// problem is why a directory could not be watched, if one could not.
func (e *events) problem() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.failed
}

func (e *events) read() {
	buffer := make([]byte, readAtOnce)
	for {
		size, err := e.file.Read(buffer)
		if err != nil {
			return
		}
		e.gather(buffer[:size])
		signal(e.ready)
	}
}

func (e *events) gather(data []byte) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for len(data) >= unix.SizeofInotifyEvent {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&data[0]))
		end := unix.SizeofInotifyEvent + int(event.Len)
		name := unix.ByteSliceToString(data[unix.SizeofInotifyEvent:end])
		data = data[end:]
		where, known := e.paths[int(event.Wd)]
		switch {
		case event.Mask&unix.IN_Q_OVERFLOW != 0:
			e.all = true
		case !known:
		case event.Mask&unix.IN_IGNORED != 0:
			delete(e.paths, int(event.Wd))
			// Unless the watch was dropped, the directory is gone or was unmounted.
			e.all = e.all || where == ""
		case name != "":
			if e.dirty[where] == nil {
				e.dirty[where] = map[string]bool{}
			}
			e.dirty[where][name] = true
		case where == "" && event.Mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
			e.all = true // nobody above it is watched
		}
	}
}
