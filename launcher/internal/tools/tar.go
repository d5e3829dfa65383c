package tools

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tarFatal is tar's exit code for errors; Tilt takes it for missing permission.
const tarFatal = 2

var tarOptions = []option{
	{'x', "extract", false}, {'x', "get", false}, {'c', "create", false}, {'f', "file", true}, {'C', "directory", true},
	{'m', "touch", false}, {'v', "verbose", false}, {'p', "preserve-permissions", false}, {'p', "same-permissions", false},
	{'o', "no-same-owner", false}, {'O', "same-owner", false}, {'P', "no-same-permissions", false},
	{'h', "dereference", false}, {'U', "overwrite", false}, {'U', "unlink-first", false}, {'n', "numeric-owner", false},
	{'w', "warning", true},
}

// tarCall is one call of tar.
type tarCall struct {
	mode      byte // x or c
	file      string
	directory string
	members   []member
	touch     bool
	verbose   bool
	exact     bool // modes as they are, without the umask
	owner     bool
	follow    bool
	output    io.Writer
	errors    io.Writer
	failed    bool
}

// member is an argument, and the directory that it is relative to.
type member struct {
	directory, path string
}

// Tar packs or unpacks an archive and returns the exit code.
func Tar(arguments []string, input io.Reader, output, errors io.Writer) int {
	call, err := tarArguments(arguments)
	if err != nil {
		fmt.Fprintf(errors, "tar: %v\n", err)
		return tarFatal
	}
	call.output, call.errors = output, errors
	if call.mode == 'x' {
		err = call.unpackFrom(input)
	} else {
		err = call.packTo(output)
	}
	if err != nil {
		call.complain("%v", err)
	}
	if call.failed {
		fmt.Fprintln(errors, "tar: Exiting with failure status due to previous errors")
		return tarFatal
	}
	return 0
}

func (c *tarCall) complain(format string, values ...any) {
	c.failed = true
	fmt.Fprintf(c.errors, "tar: "+format+"\n", values...)
}

// tarArguments understands `xmf - -C /` as well as `-C / -x -f -`.
func tarArguments(arguments []string) (*tarCall, error) {
	var found given
	if len(arguments) > 0 && arguments[0] != "" && arguments[0][0] != '-' {
		rest := arguments[1:]
		next := func() (string, error) {
			if len(rest) == 0 {
				return "", errors.New("an option lacks its argument")
			}
			value := rest[0]
			rest = rest[1:]
			return value, nil
		}
		if err := found.letters(tarOptions, arguments[0], next, false); err != nil {
			return nil, err
		}
		arguments = rest
	}
	more, err := parse(tarOptions, arguments)
	if err != nil {
		return nil, err
	}
	call := &tarCall{file: "-", directory: ".", owner: os.Geteuid() == 0, exact: os.Geteuid() == 0}
	for _, one := range append(found.options, more.options...) {
		call.set(one)
	}
	if call.mode == 0 {
		return nil, errors.New("you must specify one of the options -c and -x")
	}
	for _, path := range more.rest {
		call.members = append(call.members, member{call.directory, path})
	}
	if call.mode == 'c' && len(call.members) == 0 {
		return nil, errors.New("cowardly refusing to create an empty archive")
	}
	return call, nil
}

func (c *tarCall) set(one setting) {
	switch one.short {
	case 'x', 'c':
		c.mode = one.short
	case 'f':
		c.file = one.value
	case 'C':
		if filepath.IsAbs(one.value) {
			c.directory = one.value
		} else {
			c.directory = filepath.Join(c.directory, one.value)
		}
	case 'm':
		c.touch = true
	case 'v':
		c.verbose = true
	case 'p':
		c.exact = true
	case 'P':
		c.exact = false
	case 'o':
		c.owner = false
	case 'O':
		c.owner = true
	case 'h':
		c.follow = true
	}
}

func (c *tarCall) unpackFrom(input io.Reader) error {
	if c.file != "-" {
		file, err := os.Open(c.file)
		if err != nil {
			return err
		}
		defer file.Close()
		input = file
	}
	return c.unpack(bufio.NewReaderSize(input, 1<<20))
}

func (c *tarCall) packTo(output io.Writer) error {
	if c.file != "-" {
		file, err := os.Create(c.file)
		if err != nil {
			return err
		}
		defer file.Close()
		output = file
	}
	buffered := bufio.NewWriterSize(output, 1<<20)
	return errors.Join(c.pack(buffered), buffered.Flush())
}

// clean is the name of a member below where it is unpacked; ok is false for one that leads out of there.
func clean(name string) (path string, ok bool) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", false
		}
	}
	return strings.TrimPrefix(filepath.Clean("/"+name), "/"), true
}
