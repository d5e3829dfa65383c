package agent

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Pack writes the paths that stdin names, each ended by NUL, as a tar: directories alone, without what is in them.
func Pack(root string) int {
	root, err := mounted(root)
	if err != nil {
		return complain(1, "%v", err)
	}
	paths, err := io.ReadAll(os.Stdin)
	if err != nil {
		return complain(1, "%v", err)
	}
	buffered := bufio.NewWriterSize(os.Stdout, 1<<20)
	out := tar.NewWriter(buffered)
	for _, path := range split(paths) {
		if err := packOne(out, root, path); err != nil {
			return complain(1, "%s: %v", path, err)
		}
	}
	if err := errors.Join(out.Close(), buffered.Flush()); err != nil {
		return complain(1, "%v", err)
	}
	return 0
}

func split(list []byte) []string {
	var paths []string
	for path := range bytes.SplitSeq(list, []byte{0}) {
		if len(path) > 0 {
			paths = append(paths, string(path))
		}
	}
	return paths
}

func packOne(out *tar.Writer, root, path string) error {
	full := filepath.Join(root, path)
	var found unix.Stat_t
	if err := unix.Lstat(full, &found); err != nil {
		return err
	}
	header := tar.Header{
		Name: path, Mode: int64(found.Mode & 0o7777), ModTime: time.Unix(found.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch found.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		header.Typeflag, header.Name = tar.TypeDir, path+"/"
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case unix.S_IFREG:
		header.Typeflag, header.Size = tar.TypeReg, found.Size
	default:
		return nil // the host sees in the table what it is
	}
	if err := out.WriteHeader(&header); err != nil || header.Typeflag != tar.TypeReg {
		return err
	}
	file, err := os.OpenFile(full, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(out, file, found.Size)
	return err
}

// Unpack brings a tree up to date from stdin: the length of a list of paths, those paths, which are removed, and a tar.
// It prints the table of what the tar had.
func Unpack(root string) int {
	root, err := mounted(root)
	if err != nil {
		return complain(1, "%v", err)
	}
	source := bufio.NewReaderSize(os.Stdin, 1<<20)
	var length uint32
	if err := binary.Read(source, binary.BigEndian, &length); err != nil {
		return complain(1, "the list of what to remove: %v", err)
	}
	list := make([]byte, length)
	if _, err := io.ReadFull(source, list); err != nil {
		return complain(1, "the list of what to remove: %v", err)
	}
	for _, path := range split(list) {
		if err := removeAll(filepath.Join(root, path)); err != nil {
			return complain(1, "%v", err)
		}
	}
	written := newTable(root)
	unpacked := unpacking{
		place: func(name string) (string, error) { return filepath.Join(root, name), nil },
		mode:  func(mode int64) int64 { return mode },
	}
	if err := unpacked.all(source); err != nil {
		return complain(1, "%v", err)
	}
	for _, path := range unpacked.names {
		if _, err := written.add(path); err != nil {
			return complain(1, "%v", err)
		}
	}
	return written.print(os.Stdout)
}

// removeAll removes a tree; its directories, and the one that it is in, may have been closed to their owner. The host
// sends the latter's mode anew.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := filepath.WalkDir(path, func(found string, entry os.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			return os.Chmod(found, 0o700)
		}
		return nil
	}); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// unpacking writes the entries of a tar from the host: files are made anew, directories are given their mode last.
type unpacking struct {
	place       func(name string) (string, error)
	mode        func(mode int64) int64
	names       []string
	directories []*tar.Header
}

func (u *unpacking) all(source io.Reader) error {
	reader := tar.NewReader(source)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := u.one(header, reader); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	// Deepest first: a closed directory would keep its own from being written.
	for i := len(u.directories) - 1; i >= 0; i-- {
		header := u.directories[i]
		path, err := u.place(header.Name)
		if err == nil {
			err = errors.Join(os.Chmod(path, fileMode(u.mode(header.Mode))), os.Chtimes(path, header.ModTime, header.ModTime))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) one(header *tar.Header, content io.Reader) error {
	path, err := u.place(header.Name)
	if err != nil {
		return err
	}
	u.names = append(u.names, strings.TrimSuffix(header.Name, "/"))
	if header.Typeflag == tar.TypeDir {
		u.directories = append(u.directories, header)
		return makeDirectory(path)
	}
	if err := removeAll(path); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, path)
	case tar.TypeReg:
		return writeFile(path, header, u.mode(header.Mode), content)
	}
	return errors.New("a kind of entry that the host never sends")
}

// makeDirectory makes one, in the place of whatever else is there, and opens one that is closed.
func makeDirectory(path string) error {
	found, err := os.Lstat(path)
	switch {
	case err == nil && found.IsDir() && found.Mode()&0o700 == 0o700:
		return nil
	case err == nil && found.IsDir():
		return os.Chmod(path, 0o700)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.Mkdir(path, 0o700)
}

func writeFile(path string, header *tar.Header, mode int64, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, content, header.Size)
	err = errors.Join(err, file.Chmod(fileMode(mode)), file.Close())
	return errors.Join(err, os.Chtimes(path, header.ModTime, header.ModTime))
}

// fileMode is a mode as os.Chmod wants it.
func fileMode(mode int64) os.FileMode {
	out := os.FileMode(mode & 0o777)
	for bit, flag := range map[int64]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid, unix.S_ISVTX: os.ModeSticky} {
		if mode&bit != 0 {
			out |= flag
		}
	}
	return out
}
