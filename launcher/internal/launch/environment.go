package launch

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const pathSeparator = ":"

// ours are variables that belong to the launcher, and ourPaths the elements of PATH (LAU-10).
var (
	ours     = []string{"CNB_LAYERS_DIR", "CNB_APP_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE"}
	ourPaths = []string{"/cnb/process", "/cnb/lifecycle"}
)

// rootDirs are the directories of a layer that extend a variable at launch (LAU-11).
var rootDirs = [...]struct{ directory, variable string }{{"bin", "PATH"}, {"lib", "LD_LIBRARY_PATH"}}

// environment is an ordered set of variables.
type environment struct {
	names  []string
	values map[string]string
}

// processEnvironment is what the container gives to a process, without what is ours.
func processEnvironment(pairs []string) *environment {
	env := &environment{values: make(map[string]string, len(pairs))}
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			env.set(name, value)
		}
	}
	for _, name := range ours {
		env.unset(name)
	}
	if path, ok := env.values["PATH"]; ok {
		env.values["PATH"] = withoutOurs(path)
	}
	return env
}

func withoutOurs(path string) string {
	var kept []string
	for element := range strings.SplitSeq(path, pathSeparator) {
		if element != ourPaths[0] && element != ourPaths[1] {
			kept = append(kept, element)
		}
	}
	return strings.Join(kept, pathSeparator)
}

func (e *environment) get(name string) string {
	return e.values[name]
}

func (e *environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) unset(name string) {
	if _, known := e.values[name]; !known {
		return
	}
	delete(e.values, name)
	for i, other := range e.names {
		if other == name {
			e.names = append(e.names[:i], e.names[i+1:]...)
			return
		}
	}
}

// pairs lists NAME=value, in the order in which the names first appeared.
func (e *environment) pairs() []string {
	out := make([]string, 0, len(e.names))
	for _, name := range e.names {
		out = append(out, name+"="+e.values[name])
	}
	return out
}

// addRoot puts a layer's bin and lib in front (LAU-11).
func (e *environment) addRoot(layer string) {
	for _, root := range rootDirs {
		directory := filepath.Join(layer, root.directory)
		if info, err := os.Stat(directory); err == nil && info.IsDir() {
			e.set(root.variable, inFront(directory, pathSeparator, e.get(root.variable)))
		}
	}
}

// addFiles applies the files of an env directory (BLD-22 to BLD-25).
func (e *environment) addFiles(from folder) error {
	for _, file := range from.files {
		name, action, _ := strings.Cut(file, ".")
		if !isAction(action) || !validName(name) {
			continue
		}
		value, err := readVariable(filepath.Join(from.path, file))
		if err != nil {
			return err
		}
		delimiter := ""
		if joins(action) && e.get(name) != "" && slices.Contains(from.files, name+".delim") {
			if delimiter, err = readVariable(filepath.Join(from.path, name+".delim")); err != nil {
				return err
			}
		}
		e.modify(name, action, value, delimiter)
	}
	return nil
}

func isAction(action string) bool {
	switch action {
	case "", "override", "append", "prepend", "default":
		return true
	}
	return false
}

func joins(action string) bool {
	return action == "append" || action == "prepend"
}

// modify applies one env file's action to one variable.
func (e *environment) modify(name, action, value, delimiter string) {
	old := e.get(name)
	switch action {
	case "", "override":
		e.set(name, value)
	case "append":
		if old != "" {
			old += delimiter
		}
		e.set(name, old+value)
	case "prepend":
		e.set(name, inFront(value, delimiter, old))
	case "default":
		if old == "" {
			e.set(name, value)
		}
	}
}

// inFront puts value before old, with the delimiter between unless old is empty.
func inFront(value, delimiter, old string) string {
	if old == "" {
		return value
	}
	return value + delimiter + old
}

// validName reports whether the system can hold a variable of this name.
func validName(name string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00")
}

func readVariable(path string) (string, error) {
	content, err := readFile(path)
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return "", fail(CodeLaunch, "%s holds a NUL byte, which no variable can", path)
	}
	return string(content), nil
}
