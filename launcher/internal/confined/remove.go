package confined

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// removeAll removes what has the name in a directory, and everything below it, without following links.
func removeAll(at int, name string) error {
	err := unix.Unlinkat(at, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	// For a directory, the standard says EPERM and Linux EISDIR.
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	if kind(at, name) != unix.S_IFDIR {
		return err
	}
	if err := empty(at, name); err != nil {
		return err
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}

func empty(at int, name string) error {
	opened, err := unix.Openat(at, name, openDirectory, 0)
	if errors.Is(err, unix.EACCES) && unix.Fchmodat(at, name, 0o700, 0) == nil {
		opened, err = unix.Openat(at, name, openDirectory, 0)
	}
	if err != nil {
		return err
	}
	directory := os.NewFile(uintptr(opened), name)
	defer directory.Close()
	for {
		names, err := directory.Readdirnames(1024)
		for _, each := range names {
			err := removeAll(opened, each)
			if errors.Is(err, unix.EACCES) && unix.Fchmod(opened, 0o700) == nil {
				err = removeAll(opened, each)
			}
			if err != nil {
				return err
			}
		}
		if len(names) == 0 {
			if err != nil && err.Error() != "EOF" {
				return err
			}
			return nil
		}
	}
}
