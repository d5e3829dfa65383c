package agent

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Copy is a COPY or ADD of a Dockerfile, carried out inside of the sandbox: links lead where they lead in the image, and
// names of the context nowhere outside of it.
type Copy struct {
	Context  string // a directory
	Sources  []string
	Target   string // "/" at its end: a directory
	UID, GID int
	Mode     int  // of files and directories, -1 for their own
	Unpack   bool // archives are unpacked, as ADD does
}

// Run copies; it returns the exit code and says on stderr what failed.
func (c Copy) Run() int {
	context, err := os.OpenRoot(c.Context)
	if err != nil {
		return complain(1, "the build context cannot be opened: %v", err)
	}
	defer context.Close()
	names, err := c.matches(context)
	if err == nil && len(names) > 1 && !strings.HasSuffix(c.Target, "/") {
		err = fmt.Errorf("several files are copied to %s, which must then end with /", c.Target)
	}
	for _, name := range names {
		if err == nil {
			err = c.source(context, name)
		}
	}
	if err != nil {
		return complain(1, "%v", err)
	}
	return 0
}

// Directory makes a directory and those above it, as WORKDIR does.
func (c Copy) Directory(path string) int {
	if err := c.parents(path); err != nil {
		return complain(1, "%v", err)
	}
	return 0
}

// matches expands the sources, which are patterns as filepath.Match has them, below the context.
func (c Copy) matches(context *os.Root) ([]string, error) {
	var names []string
	for _, source := range c.Sources {
		plain := strings.TrimPrefix(path.Clean("/"+source), "/")
		if plain == "" {
			plain = "."
		}
		if above := path.Clean(strings.TrimLeft(source, "/")); above == ".." || strings.HasPrefix(above, "../") {
			return nil, fmt.Errorf("%s leads out of the build context", source)
		}
		found, err := fs.Glob(context.FS(), plain)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s is not in the build context", source)
		}
		names = append(names, found...)
	}
	return names, nil
}

func (c Copy) source(context *os.Root, name string) error {
	info, err := context.Stat(name) // the source itself may be a link within the context
	if err != nil {
		return fmt.Errorf("%s cannot be copied: %w", name, err)
	}
	if info.IsDir() {
		if err := c.parents(c.Target); err != nil {
			return err
		}
		return c.directory(context, name, strings.TrimSuffix(c.Target, "/")+"/")
	}
	if c.Unpack {
		unpacked, err := c.archive(context, name)
		if unpacked || err != nil {
			return err
		}
	}
	target := c.Target
	if there, err := os.Stat(target); strings.HasSuffix(target, "/") || (err == nil && there.IsDir()) {
		target = filepath.Join(target, path.Base(name))
	}
	if err := c.parents(filepath.Dir(target)); err != nil {
		return err
	}
	return c.file(context, name, target, info)
}

// parents makes a directory and those above it, owned like what is copied.
func (c Copy) parents(directory string) error {
	directory = filepath.Clean(directory)
	if info, err := os.Stat(directory); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", directory)
		}
		return nil
	}
	if err := c.parents(filepath.Dir(directory)); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(directory, 0o755), os.Chmod(directory, 0o755), os.Chown(directory, c.UID, c.GID))
}

func (c Copy) directory(context *os.Root, name, target string) error {
	entries, err := fs.ReadDir(context.FS(), name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		from, to := path.Join(name, entry.Name()), target+entry.Name()
		info, err := context.Lstat(from)
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			err = c.subdirectory(to, info)
			if err == nil {
				err = c.directory(context, from, to+"/")
			}
		case info.Mode()&fs.ModeSymlink != 0:
			err = c.link(context, from, to)
		default:
			err = c.file(context, from, to, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c Copy) subdirectory(target string, info fs.FileInfo) error {
	there, err := os.Stat(target)
	if err == nil && there.IsDir() {
		return nil
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a directory", target)
	}
	return errors.Join(os.Mkdir(target, 0o700), os.Chown(target, c.UID, c.GID), os.Chmod(target, c.mode(info)))
}

func (c Copy) link(context *os.Root, name, target string) error {
	to, err := context.Readlink(name)
	if err != nil {
		return err
	}
	if err := removeFile(target); err != nil {
		return err
	}
	return errors.Join(os.Symlink(to, target), os.Lchown(target, c.UID, c.GID))
}

func (c Copy) file(context *os.Root, name, target string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file, directory or link", name)
	}
	from, err := context.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	return c.write(from, target, c.mode(info))
}

func (c Copy) write(from io.Reader, target string, mode fs.FileMode) error {
	if err := removeFile(target); err != nil {
		return err
	}
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	// The mode comes last: giving a file away takes its set-id bits.
	return errors.Join(err, to.Chown(c.UID, c.GID), to.Chmod(mode), to.Close())
}

func (c Copy) mode(info fs.FileInfo) fs.FileMode {
	if c.Mode < 0 {
		return info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
	mode := fs.FileMode(c.Mode) & fs.ModePerm
	for bit, flag := range map[int]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if c.Mode&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

func removeFile(target string) error {
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory", target)
	}
	return errors.Join(err, os.Remove(target))
}

// archive unpacks a tar archive, plain or compressed, into the target; false for a file that is none.
func (c Copy) archive(context *os.Root, name string) (bool, error) {
	file, err := context.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	stream := bufio.NewReaderSize(file, 1<<16)
	unpacked, err := decompress(stream)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	plain := bufio.NewReaderSize(unpacked, 1<<16)
	if block, _ := plain.Peek(512); len(block) < 512 || !bytes.Equal(block[257:262], []byte("ustar")) {
		return false, nil
	}
	if err := c.parents(c.Target); err != nil {
		return true, err
	}
	target, err := os.OpenRoot(c.Target)
	if err != nil {
		return true, err
	}
	defer target.Close()
	reader := tar.NewReader(plain)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err == nil {
			err = unpack(target, header, reader)
		}
		if err != nil {
			return true, fmt.Errorf("%s: %w", name, err)
		}
	}
}

func decompress(stream *bufio.Reader) (io.Reader, error) {
	magic, _ := stream.Peek(6)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(stream)
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(stream), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, errors.New("archives compressed with xz or zstd are not unpacked: use gzip, or COPY it and unpack it in a RUN")
	}
	return stream, nil
}

// unpack writes one entry of an archive; its names cannot lead out of the target.
func unpack(target *os.Root, header *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
	if name == "" {
		return nil
	}
	if err := target.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := header.FileInfo().Mode()
	var err error
	switch header.Typeflag {
	case tar.TypeDir:
		if err = target.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	case tar.TypeReg:
		err = unpackFile(target, name, content)
	case tar.TypeSymlink:
		return errors.Join(replace(target, name), target.Symlink(header.Linkname, name), target.Lchown(name, header.Uid, header.Gid))
	case tar.TypeLink:
		return errors.Join(replace(target, name), target.Link(strings.TrimPrefix(path.Clean("/"+header.Linkname), "/"), name))
	default:
		return fmt.Errorf("%s is no file, directory or link", header.Name)
	}
	if err != nil {
		return err
	}
	return errors.Join(target.Lchown(name, header.Uid, header.Gid), target.Chmod(name, mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)))
}

func unpackFile(target *os.Root, name string, content io.Reader) error {
	if err := replace(target, name); err != nil {
		return err
	}
	file, err := target.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

func replace(target *os.Root, name string) error {
	if err := target.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
