package tools

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

var rmOptions = []option{
	{'r', "recursive", false}, {'R', "", false}, {'f', "force", false}, {'v', "verbose", false}, {'d', "dir", false},
}

// Rm removes files, with -r directories too, and returns the exit code.
func Rm(arguments []string, output, errors io.Writer) int {
	given, err := parse(rmOptions, arguments)
	if err != nil {
		fmt.Fprintf(errors, "rm: %v\n", err)
		return 1
	}
	set := map[byte]bool{}
	for _, one := range given.options {
		set[one.short] = true
	}
	recursive, force := set['r'] || set['R'], set['f']
	if len(given.rest) == 0 && !force {
		fmt.Fprintln(errors, "rm: missing operand")
		return 1
	}
	code := 0
	for _, path := range given.rest {
		if err := remove(path, recursive, force); err != nil {
			fmt.Fprintf(errors, "rm: cannot remove '%s': %v\n", path, reason(err))
			code = 1
		} else if set['v'] {
			fmt.Fprintf(output, "removed '%s'\n", path)
		}
	}
	return code
}

func remove(path string, recursive, force bool) error {
	switch filepath.Base(filepath.Clean(path)) {
	case "/", ".", "..":
		return fmt.Errorf("refusing to remove '.', '..' or '/'")
	}
	found, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err) && force:
		return nil
	case err != nil:
		return err
	case found.IsDir() && !recursive:
		return fmt.Errorf("Is a directory")
	case found.IsDir():
		return os.RemoveAll(path)
	}
	return os.Remove(path)
}

// reason is an error without the path that it is about.
func reason(err error) error {
	switch typed := err.(type) {
	case *os.PathError:
		return typed.Err
	case *os.LinkError:
		return typed.Err
	}
	return err
}
