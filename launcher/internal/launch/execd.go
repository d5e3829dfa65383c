package launch

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"packrunner/launcher/internal/explain"
)

const (
	execDLimit = 1 << 20     // bytes of variables that one program may give
	execDDrain = time.Second // how long fd 3 is read after the program has ended: a daemon may hold it
)

// runExecD runs one exec.d program and applies the variables that it writes to descriptor 3 (LAU-15, LAU-16).
func runExecD(path string, env *environment) error {
	output, err := execDOutput(path, env)
	if err != nil {
		return err
	}
	variables, err := parseExecD(output)
	if err != nil {
		return fail(CodeLaunch, "%s wrote to descriptor 3 what is no NAME = \"value\" TOML: %s", path, oneLine(err))
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env.set(name, variables[name])
	}
	return nil
}

func execDOutput(path string, env *environment) ([]byte, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		write.Close()
		return nil, err
	}
	defer null.Close()
	program, err := os.StartProcess(path, []string{path}, &os.ProcAttr{
		Env: env.pairs(), Files: []*os.File{null, os.Stdout, os.Stderr, write},
	})
	write.Close()
	if err != nil {
		text, _ := explain.Start(path, err)
		return nil, fail(CodeLaunch, "exec.d program: %s", text)
	}
	type result struct {
		bytes []byte
		err   error
	}
	results := make(chan result, 1)
	go func() {
		bytes, err := io.ReadAll(io.LimitReader(read, execDLimit+1))
		if len(bytes) > execDLimit {
			read.Close() // whoever writes for ever gets a broken pipe
		}
		results <- result{bytes, err}
	}()
	state, err := program.Wait()
	if err != nil {
		return nil, err
	}
	_ = read.SetReadDeadline(time.Now().Add(execDDrain)) // fails only when reading has ended
	got := <-results
	switch {
	case len(got.bytes) > execDLimit:
		return nil, fail(CodeLaunch, "%s wrote more than %d bytes to descriptor 3", path, execDLimit)
	case !state.Success():
		return nil, fail(CodeLaunch, "%s failed (%s): see its output above", path, state)
	case got.err != nil && !errors.Is(got.err, os.ErrDeadlineExceeded):
		return nil, got.err
	}
	return got.bytes, nil
}

// parseExecD reads NAME = "value" lines.
func parseExecD(output []byte) (map[string]string, error) {
	var raw map[string]any
	if err := toml.Unmarshal(output, &raw); err != nil {
		return nil, err
	}
	variables := make(map[string]string, len(raw))
	for name, value := range raw {
		text, isText := value.(string)
		switch {
		case !isText:
			return nil, errors.New(name + " is not a string")
		case !validName(name) || strings.IndexByte(text, 0) >= 0:
			return nil, errors.New(name + " cannot be a variable")
		}
		variables[name] = text
	}
	return variables, nil
}
