package launch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// This file reads files and directories with plain system calls: package os registers every file with the poller and
// gives it a finalizer, which costs three times the reading itself and half a millisecond in an image with ten layers.

// fileLimit bounds what is read of any file: the kernel takes no variable of more than 2 MiB, and metadata.toml is
// a few kilobytes.
const fileLimit = 8 << 20

var errTooLarge = errors.New("larger than 8 MiB")

// entry is a name in a directory.
type entry struct {
	name string
	mode fs.FileMode // type bits only
}

// folder is a directory of a layer and the files in it, in name order.
type folder struct {
	path  string
	files []string
}

// folders reads the directory at path and, when a process type is selected, its subdirectory of that name. A directory
// that is absent gives none. Links to files and directories count as what they lead to.
func folders(path, name string) ([]folder, error) {
	entries, err := readDirectory(path)
	if err != nil || entries == nil {
		return nil, err
	}
	general, hasTyped := folder{path: path}, false
	for _, e := range entries {
		mode := e.mode
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, e.name))
			if err != nil {
				return nil, err
			}
			mode = info.Mode()
		}
		switch {
		case mode.IsRegular():
			general.files = append(general.files, e.name)
		case mode.IsDir() && e.name == name:
			hasTyped = true
		}
	}
	if !hasTyped {
		return []folder{general}, nil
	}
	typed, err := folders(filepath.Join(path, name), "")
	return append([]folder{general}, typed...), err
}

// readDirectory lists a directory in name order; nil when it is absent.
func readDirectory(path string) ([]entry, error) {
	fd, err := open(path, syscall.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	entries := []entry{}
	buffer := make([]byte, 8192)
	for {
		n, err := syscall.ReadDirent(fd, buffer)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "list", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
		entries = appendEntries(entries, buffer[:n])
	}
	for i, e := range entries {
		if e.mode != fs.ModeIrregular {
			continue
		}
		info, err := os.Lstat(filepath.Join(path, e.name))
		if err != nil {
			return nil, err
		}
		entries[i].mode = info.Mode().Type()
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries, nil
}

// appendEntries decodes what getdents64 gives: inode and offset of 8 bytes each, length of the record, type, and a
// name that ends with a NUL.
func appendEntries(entries []entry, records []byte) []entry {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	for len(records) > nameAt {
		length := int(binary.NativeEndian.Uint16(records[lengthAt:]))
		name, _, _ := bytes.Cut(records[nameAt:length], []byte{0})
		if text := string(name); text != "." && text != ".." {
			entries = append(entries, entry{text, typeBits(records[typeAt])})
		}
		records = records[length:]
	}
	return entries
}

// typeBits says of what type an entry is; fs.ModeIrregular where the file system does not tell in the listing.
func typeBits(kind byte) fs.FileMode {
	switch kind {
	case syscall.DT_REG:
		return 0
	case syscall.DT_DIR:
		return fs.ModeDir
	case syscall.DT_LNK:
		return fs.ModeSymlink
	case syscall.DT_UNKNOWN:
		return fs.ModeIrregular
	}
	return fs.ModeDevice // sockets and pipes too: none of them is read
}

// readFile returns the content of a regular file.
func readFile(path string) ([]byte, error) {
	fd, err := open(path, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	content := make([]byte, 0, 1024)
	for {
		n, err := syscall.Read(fd, content[len(content):cap(content)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return content, nil
		case len(content)+n > fileLimit:
			return nil, &fs.PathError{Op: "read", Path: path, Err: errTooLarge}
		}
		content = content[:len(content)+n]
		content = slices.Grow(content, 1)
	}
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|flags, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}
