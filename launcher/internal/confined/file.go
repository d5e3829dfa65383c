package confined

import (
	"errors"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// File writes a file of exactly size bytes: beside its name first, so that nobody sees half of it. Where the directory
// takes no new names it is written in place. Whatever happens, all of its bytes are read from source.
func (t *Tree) File(path string, mode uint32, modified time.Time, size int64, source io.Reader) error {
	left := &io.LimitedReader{R: source, N: size}
	err := t.file(path, mode, modified, left)
	if _, lost := io.Copy(io.Discard, left); lost != nil {
		return lost
	}
	if err == nil && left.N > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (t *Tree) file(path string, mode uint32, modified time.Time, content *io.LimitedReader) error {
	at, name, err := t.above(path, true)
	if err != nil {
		return err
	}
	temporary := temporaryName()
	opened, err := unix.Openat(at, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if closed(err) {
		return inPlace(at, name, err, modified, content)
	}
	if err != nil {
		return err
	}
	if err := fill(opened, temporary, mode|0o600, modified, content); err != nil {
		unix.Unlinkat(at, temporary, 0)
		return err
	}
	return place(at, temporary, name)
}

// closed reports whether a directory takes no new names from us.
func closed(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func fill(opened int, name string, mode uint32, modified time.Time, content *io.LimitedReader) error {
	file := os.NewFile(uintptr(opened), name)
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	if content.N > 0 {
		return io.ErrUnexpectedEOF
	}
	if err := setMode(opened, mode); err != nil {
		return err
	}
	return touch(opened, modified)
}

func touch(opened int, modified time.Time) error {
	if modified.IsZero() {
		return nil
	}
	times := [2]unix.Timespec{{Nsec: unix.UTIME_NOW}, unix.NsecToTimespec(modified.UnixNano())}
	// A descriptor without a path is how futimens asks, which the package does not have.
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(opened), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 && !closed(errno) { // only its owner may, and the content is what counts
		return errno
	}
	return nil
}

func inPlace(at int, name string, refused error, modified time.Time, content *io.LimitedReader) error {
	opened, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || kind(at, name) != unix.S_IFREG {
		if err == nil {
			unix.Close(opened)
		}
		return refused
	}
	file := os.NewFile(uintptr(opened), name)
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	end, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	return touch(opened, modified)
}
