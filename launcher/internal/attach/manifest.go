package attach

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/confined"
	"packrunner/launcher/internal/rules"
)

// manifest tells what the application's tree has, but for what the rules ignore.
func (s *session) manifest(id int64) {
	files := []entry{}
	err := s.walk(func(one entry) {
		if len(files) == mostFiles {
			s.send(manifest{Event: "manifest", ID: id, Files: files})
			files = files[:0]
		}
		files = append(files, one)
	})
	if err != nil {
		s.send(refused{Event: "error", ID: id, Why: err.Error()})
		return
	}
	s.send(manifest{Event: "manifest", ID: id, Files: files, End: true})
}

func (s *session) walk(see func(entry)) error {
	return filepath.WalkDir(s.app, func(full string, found fs.DirEntry, err error) error {
		if full == s.app {
			return err
		}
		path := full[len(s.app)+1:]
		if err != nil || strings.HasPrefix(filepath.Base(path), confined.Temporary) {
			return nil // gone meanwhile, or closed to us: the host finds that it is missing
		}
		if found.IsDir() && s.rules.Ignores(path) {
			return fs.SkipDir
		}
		if rule := s.rules.Decide(path); rule != nil && rule.Action == rules.Ignore && !found.IsDir() {
			return nil
		}
		if one, ok := describe(full, path); ok {
			see(one)
		}
		return nil
	})
}

// describe looks at one thing; what is neither file, link nor directory is left out.
func describe(full, path string) (entry, bool) {
	var found unix.Stat_t
	if unix.Lstat(full, &found) != nil {
		return entry{}, false
	}
	one := entry{Path: path, Mode: found.Mode & 0o777}
	switch found.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		one.Kind = kindDirectory
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		one.Kind, one.Target = kindLink, &target
		return one, err == nil
	case unix.S_IFREG:
		one.Kind, one.Size = kindFile, found.Size
		digest, err := digest(full)
		one.SHA256 = digest
		return one, err == nil
	}
	return one, one.Kind != ""
}

func digest(full string) (string, error) {
	file, err := os.OpenFile(full, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hashed := sha256.New()
	if _, err := io.Copy(hashed, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hashed.Sum(nil)), nil
}
