// Package explain says in words why a program could not be started. The kernel answers "no such file" also when the
// file is there and only its interpreter is missing, which sends people looking in the wrong place.
package explain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit codes of a shell for the two kinds of failure.
const (
	NotExecutable = 126
	NotFound      = 127
)

// Start explains why starting path failed with err, and gives the exit code that a shell would.
func Start(path string, err error) (string, int) {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return missing(path), NotFound
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return denied(path), NotExecutable
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Sprintf("%s is no program for this machine: it has no #! line and is no binary of this architecture", path), NotExecutable
	case errors.Is(err, syscall.E2BIG):
		return fmt.Sprintf("%s: its arguments and environment are larger than this system allows", path), NotExecutable
	case errors.Is(err, syscall.EINVAL):
		return fmt.Sprintf("%s: an argument or variable holds a NUL byte, or the program is no valid binary", path), NotExecutable
	}
	return fmt.Sprintf("%s: %v", path, err), NotExecutable
}

func missing(path string) string {
	if reason := absent(path); reason != "" {
		return reason
	}
	interpreter, err := Interpreter(path)
	if err != nil || interpreter == "" {
		return fmt.Sprintf("%s exists, but could not be started", path)
	}
	if name, carriageReturn := strings.CutSuffix(interpreter, "\r"); carriageReturn {
		return fmt.Sprintf("%s exists, but its first line ends as on Windows, so %s is not found: give it Unix line ends", path, name)
	}
	if reason := absent(interpreter); reason != "" {
		return fmt.Sprintf("%s exists, but its interpreter %s does not%s", path, interpreter, linkNote(interpreter))
	}
	return fmt.Sprintf("%s exists, but its interpreter %s could not be started", path, interpreter)
}

// absent describes why path names nothing; it is empty when path names something.
func absent(path string) string {
	if _, err := os.Stat(path); err == nil || !notThere(err) {
		return ""
	}
	if note := linkNote(path); note != "" {
		return path + " does not exist" + note
	}
	return path + " does not exist"
}

func notThere(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// linkNote follows path link by link and names the last one, which leads nowhere.
func linkNote(path string) string {
	last := ""
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		last, path = path, target
	}
	if last == "" {
		return ""
	}
	return fmt.Sprintf(": %s is a link to %s, which is missing", last, path)
}

func denied(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Sprintf("%s may not be reached by uid %d", path, os.Getuid())
	case info.IsDir():
		return path + " is a directory"
	case info.Mode()&0o111 == 0:
		return path + " is not executable: chmod +x it"
	}
	if interpreter, err := Interpreter(path); err == nil && interpreter != "" {
		if info, err := os.Stat(interpreter); err == nil && info.Mode()&0o111 == 0 {
			return fmt.Sprintf("%s is executable, but its interpreter %s is not", path, interpreter)
		}
	}
	return fmt.Sprintf("%s may not be executed by uid %d", path, os.Getuid())
}

// Interpreter names the program that runs path: that of its #! line, or a dynamic binary's loader; empty without one.
func Interpreter(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	if line, found := bytes.CutPrefix(head, []byte("#!")); found {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		return shebang(string(line)), nil
	}
	return loader(head, file), nil
}

func shebang(line string) string {
	word, _, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
	word, _, _ = strings.Cut(word, "\t")
	return word
}

// loader reads PT_INTERP of a little-endian 64-bit ELF file.
func loader(head []byte, file io.ReaderAt) string {
	const headerSize, programSize, interp = 64, 56, 3
	if len(head) < headerSize || !bytes.HasPrefix(head, []byte("\x7fELF\x02\x01")) {
		return ""
	}
	offset := int64(binary.LittleEndian.Uint64(head[32:]))
	count := int(binary.LittleEndian.Uint16(head[56:]))
	program := make([]byte, programSize)
	for i := range count {
		if _, err := file.ReadAt(program, offset+int64(i*programSize)); err != nil {
			return ""
		}
		if binary.LittleEndian.Uint32(program) != interp {
			continue
		}
		name := make([]byte, min(binary.LittleEndian.Uint64(program[32:]), 4096))
		if _, err := file.ReadAt(name, int64(binary.LittleEndian.Uint64(program[8:]))); err != nil {
			return ""
		}
		return string(bytes.TrimRight(name, "\x00"))
	}
	return ""
}
