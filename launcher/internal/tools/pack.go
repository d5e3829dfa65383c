package tools

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func (c *tarCall) pack(output io.Writer) error {
	archive := tar.NewWriter(output)
	for _, one := range c.members {
		if strings.HasPrefix(one.path, "/") {
			fmt.Fprintln(c.errors, "tar: Removing leading `/' from member names")
		}
		full := one.path
		if !filepath.IsAbs(full) {
			full = filepath.Join(one.directory, full)
		}
		if err := c.packTree(archive, full, one.path); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (c *tarCall) packTree(archive *tar.Writer, root, name string) error {
	return filepath.WalkDir(root, func(full string, _ fs.DirEntry, err error) error {
		if err != nil {
			c.complain("%s: %v", full, reason(err))
			return nil
		}
		relative, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		member := strings.TrimLeft(filepath.Join(name, relative), "/")
		if member == "" {
			return nil // the root itself
		}
		return c.packOne(archive, full, member)
	})
}

// packOne adds one member. Its error ends the archive, because the archive is broken.
func (c *tarCall) packOne(archive *tar.Writer, full, member string) error {
	look := os.Lstat
	if c.follow {
		look = os.Stat
	}
	found, err := look(full)
	if err != nil {
		c.complain("%s: %v", full, reason(err))
		return nil
	}
	link := ""
	if found.Mode()&os.ModeSymlink != 0 {
		if link, err = os.Readlink(full); err != nil {
			c.complain("%s: %v", full, reason(err))
			return nil
		}
	}
	header, err := tar.FileInfoHeader(found, link)
	if err != nil {
		c.complain("%s: file ignored: %v", full, err)
		return nil
	}
	header.Name, header.Uname, header.Gname = member, "", ""
	if found.IsDir() {
		header.Name += "/"
	}
	if c.verbose {
		fmt.Fprintln(c.errors, header.Name)
	}
	if !found.Mode().IsRegular() {
		return archive.WriteHeader(header)
	}
	file, err := os.OpenFile(full, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		c.complain("%s: %v", full, reason(err))
		return nil
	}
	defer file.Close()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	return c.content(archive, file, full, header.Size)
}

// content writes exactly size bytes; a file that has become shorter is filled up with zeros, as tar does.
func (c *tarCall) content(archive io.Writer, file io.Reader, full string, size int64) error {
	written, err := io.CopyN(archive, file, size)
	if err == nil {
		return nil
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	c.complain("%s: file shrank by %d bytes; padding with zeros", full, size-written)
	_, err = io.CopyN(archive, zeros{}, size-written)
	return err
}

type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}
