package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const modeVariable = "PACKRUNNER_TEST_LAUNCHER"

// The test binary is the launcher when the variable is set.
func TestMain(m *testing.M) {
	if os.Getenv(modeVariable) == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv(modeVariable)
	err := Launch(os.Args)
	fmt.Fprintf(os.Stderr, "packrunner launcher: %v\n", err)
	var failure *Failure
	if errors.As(err, &failure) {
		os.Exit(failure.Code)
	}
	os.Exit(CodeLaunch)
}

// image is a /layers and a /workspace, and the variables of the container.
type image struct {
	t           *testing.T
	root        string
	environment []string
}

// result is what a launch left behind.
type result struct {
	stdout, stderr string
	code           int
}

func newImage(t *testing.T, metadata string) *image {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	i := &image{t: t, root: root}
	i.environment = []string{
		"CNB_PLATFORM_API=0.15", "CNB_LAYERS_DIR=" + i.path("layers"), "CNB_APP_DIR=" + i.path("app"),
		"CNB_DEPRECATION_MODE=quiet", "PATH=/cnb/process:/cnb/lifecycle:/usr/bin:/bin",
	}
	i.write("layers/config/metadata.toml", metadata)
	i.write("app/sub/keep", "")
	return i
}

func (i *image) path(name string) string { return filepath.Join(i.root, name) }

// write makes a file; one that begins with #! is executable.
func (i *image) write(name, content string) {
	i.t.Helper()
	path := i.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		i.t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		i.t.Fatal(err)
	}
}

func (i *image) command(argv0 string, arguments ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: os.Args[0], Args: append([]string{argv0}, arguments...), Dir: "/",
		Env: append(i.environment, modeVariable+"=1"),
	}
}

func (i *image) launch(argv0 string, arguments ...string) result {
	i.t.Helper()
	var stdout, stderr strings.Builder
	command := i.command(argv0, arguments...)
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var failure *exec.ExitError
	if err != nil && !errors.As(err, &failure) {
		i.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

func (i *image) wantOutput(want string, argv0 string, arguments ...string) {
	i.t.Helper()
	if got := i.launch(argv0, arguments...); got.stdout != want || got.code != 0 {
		i.t.Errorf("%s %q: got %+v, want %q", argv0, arguments, got, want)
	}
}

func (i *image) wantFailure(code int, text string, argv0 string, arguments ...string) {
	i.t.Helper()
	got := i.launch(argv0, arguments...)
	lines := strings.Count(got.stderr, "\n")
	if got.code != code || !strings.Contains(got.stderr, text) || lines != 1 || !strings.HasPrefix(got.stderr, "packrunner launcher: ") {
		i.t.Errorf("%s %q: got %+v, want code %d and one line with %q", argv0, arguments, got, code, text)
	}
}

// process is one [[processes]] table of buildpack a/b.
func tomlProcess(name, rest string) string {
	return fmt.Sprintf("[[processes]]\ntype = %q\nbuildpack-id = \"a/b\"\n%s\n", name, rest)
}

func tomlBuildpack(id, api string) string {
	return fmt.Sprintf("[[buildpacks]]\nid = %q\nversion = \"1\"\napi = %q\n", id, api)
}

const show = "command = ['/bin/sh', '-c']\nargs = ['printf \"[%s]\" \"$0\" \"$@\"']\ndirect = true"
