package tools

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/confined"
)

func (c *tarCall) unpack(input *bufio.Reader) error {
	var source io.Reader = input
	if start, _ := input.Peek(2); len(start) == 2 && start[0] == 0x1f && start[1] == 0x8b {
		unpacked, err := gzip.NewReader(input)
		if err != nil {
			return err
		}
		source = unpacked
	}
	umask := unix.Umask(0)
	unix.Umask(umask)
	u := &unpacking{call: c, umask: uint32(umask)}
	defer u.leave()
	archive := tar.NewReader(source)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("this does not look like a tar archive: %w", err)
		}
		if err := u.one(header, archive); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			c.complain("%s: %v", header.Name, reason(err))
		}
	}
	u.finish()
	// Whoever writes may wait for us to read what pads the archive.
	_, err := io.Copy(io.Discard, source)
	return err
}

// unpacking is one archive on its way to the disk.
type unpacking struct {
	call  *tarCall
	umask uint32
	// The directory of the last member: links are followed to get there, as tar does, and never from there.
	where       string
	tree        *confined.Tree
	directories []*tar.Header
	// Links that may lead out of the archive's tree are made last, so that no member can go through one.
	links []*tar.Header
}

func (u *unpacking) leave() {
	if u.tree != nil {
		u.tree.Close()
	}
}

func (u *unpacking) one(header *tar.Header, content io.Reader) error {
	path, ok := clean(header.Name)
	if !ok {
		return errors.New("member name contains '..'")
	}
	if path == "" {
		return nil
	}
	if u.call.verbose {
		fmt.Fprintln(u.call.output, header.Name)
	}
	full := filepath.Join(u.call.directory, path)
	if header.Typeflag == tar.TypeDir {
		u.directories = append(u.directories, header)
		return os.MkdirAll(full, 0o755)
	}
	if header.Typeflag == tar.TypeSymlink && mayLeave(header.Linkname) {
		u.links = append(u.links, header)
		return nil
	}
	return u.make(header, full, content)
}

func mayLeave(target string) bool {
	return filepath.IsAbs(target) || slices.Contains(strings.Split(target, "/"), "..")
}

func (u *unpacking) make(header *tar.Header, full string, content io.Reader) error {
	if err := u.enter(filepath.Dir(full)); err != nil {
		return err
	}
	if err := u.place(header, filepath.Base(full), content); err != nil {
		return err
	}
	if u.call.owner && header.Typeflag != tar.TypeLink {
		return os.Lchown(full, header.Uid, header.Gid)
	}
	return nil
}

func (u *unpacking) place(header *tar.Header, name string, content io.Reader) error {
	switch header.Typeflag {
	case tar.TypeReg:
		return u.tree.File(name, u.mode(header), u.time(header), header.Size, content)
	case tar.TypeSymlink:
		return u.tree.Link(name, header.Linkname)
	case tar.TypeLink:
		target, ok := clean(header.Linkname)
		if !ok {
			return errors.New("link target contains '..'")
		}
		if err := u.tree.Remove(name); err != nil {
			return err
		}
		return os.Link(filepath.Join(u.call.directory, target), filepath.Join(u.where, name))
	}
	return errors.New("neither a file nor a directory nor a link")
}

// enter opens the directory that the next member is made in.
func (u *unpacking) enter(directory string) error {
	if u.tree != nil && u.where == directory {
		return nil
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	opened, err := confined.Open(directory)
	if err != nil {
		return err
	}
	u.leave()
	u.tree, u.where = opened, directory
	return nil
}

func (u *unpacking) mode(header *tar.Header) uint32 {
	mode := uint32(header.Mode) & 0o777
	if !u.call.exact {
		mode &^= u.umask
	}
	return mode
}

func (u *unpacking) time(header *tar.Header) time.Time {
	if u.call.touch {
		return time.Time{}
	}
	return header.ModTime
}

// finish makes the links that had to wait, and gives directories their modes and times, the deepest first: what was made in them has changed the latter.
func (u *unpacking) finish() {
	for _, header := range u.links {
		path, _ := clean(header.Name)
		if err := u.make(header, filepath.Join(u.call.directory, path), nil); err != nil {
			u.call.complain("%s: %v", header.Name, reason(err))
		}
	}
	for i := len(u.directories) - 1; i >= 0; i-- {
		header := u.directories[i]
		path, _ := clean(header.Name)
		full := filepath.Join(u.call.directory, path)
		var err error
		if found, stat := os.Stat(full); stat == nil && found.Mode().Perm() != os.FileMode(u.mode(header)) {
			err = os.Chmod(full, os.FileMode(u.mode(header)))
		}
		if u.call.owner && err == nil {
			err = os.Lchown(full, header.Uid, header.Gid)
		}
		if err == nil && !u.call.touch {
			err = os.Chtimes(full, time.Time{}, header.ModTime)
		}
		if err != nil && !errors.Is(err, os.ErrPermission) { // of one that is somebody else's
			u.call.complain("%s: %v", header.Name, reason(err))
		}
	}
}
