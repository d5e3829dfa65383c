package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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

func TestBasenameSelectsTheProcess(t *testing.T) { // LAU-01
	i := newImage(t, tomlBuildpack("a/b", "0.12")+
		tomlProcess("web", "command = ['/bin/echo', 'web']\nargs = []\ndirect = true")+
		tomlProcess("a.b", "command = ['/bin/echo', 'dotted']\nargs = []\ndirect = true"))
	i.wantOutput("web\n", "/cnb/process/web")
	i.wantOutput("web\n", "web")
	i.wantOutput("dotted\n", "/cnb/process/a.b")
	i.wantOutput("given\n", "/cnb/lifecycle/launcher", "--", "/bin/echo", "given")
}

func TestProcessTypeVariableOnlyWarns(t *testing.T) { // LAU-02
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/usr/bin/env']\nargs = []\ndirect = true"))
	i.environment = append(i.environment, "CNB_PROCESS_TYPE=other")
	got := i.launch("web")
	if got.code != 0 || !strings.Contains(got.stderr, "CNB_PROCESS_TYPE") || strings.Contains(got.stdout, "CNB_PROCESS_TYPE") {
		t.Fatalf("%+v", got)
	}
}

func TestNothingToStart(t *testing.T) { // LAU-03
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", show))
	i.wantFailure(82, "entrypoints web", "launcher")
	i.wantFailure(82, "nothing to start", "launcher", "--")
}

func TestUserCommand(t *testing.T) { // LAU-04, LAU-05
	i := newImage(t, tomlBuildpack("a/b", "0.12"))
	i.write("layers/a_b/tools/bin/tool", "#!/bin/sh\nprintf 'tool %s %s' \"$PWD\" \"$1\"\n")
	i.environment = append(i.environment, "A=value of a")
	i.wantOutput("tool "+i.path("app")+" $A", "launcher", "--", "tool", "$A")
	i.wantOutput("value of a\n", "launcher", "echo $A | cat")
	i.wantOutput("$A\n", "launcher", `echo '$A' | cat`)
	i.wantOutput("[value of a][x  y][*][-n]", "launcher", "printf", "[%s]", "$A", "x  y", "*", "-n")
	i.wantOutput("it's [value of a]", "launcher", "printf", "%s", `it's [$A]`)
}

func TestTokensRunBuiltinsAndKeepTheirExitCode(t *testing.T) {
	i := newImage(t, "")
	if got := i.launch("launcher", "test", "-e", "/nope"); got.code != 1 {
		t.Errorf("builtin: %+v", got)
	}
	if got := i.launch("launcher", "no-such-program", "x"); got.code != 127 {
		t.Errorf("absent: %+v", got)
	}
}

func TestUserArguments(t *testing.T) { // LAU-06, LAU-07
	const list = "command = ['/usr/bin/printf', '[%s]', 'always']\nargs = ['own']\ndirect = true"
	const single = "command = ['/bin/echo']\nargs = ['own']\ndirect = true"
	const text = "command = '/bin/echo'\nargs = ['own']\ndirect = true"
	for name, test := range map[string]struct{ buildpack, platform, process, without, with string }{
		"new, fixed part":          {"0.9", "0.10", list, "[always][own]", "[always][user]"},
		"new, one word":            {"0.12", "0.15", single, "own\n", "user\n"},
		"old buildpack":            {"0.8", "0.15", single, "own\n", "own user\n"},
		"old platform":             {"0.12", "0.9", text, "own\n", "own user\n"},
		"old platform, list":       {"0.12", "0.9", list, "[always][own]", "[always][own][user]"},
		"string on a new platform": {"0.12", "0.10", text, "own\n", "user\n"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImage(t, tomlBuildpack("a/b", test.buildpack)+tomlProcess("web", test.process))
			i.environment = append(i.environment, "CNB_PLATFORM_API="+test.platform)
			i.wantOutput(test.without, "web")
			i.wantOutput(test.with, "web", "user")
		})
	}
}

func TestExecutionEnvironments(t *testing.T) { // LAU-08, BLD-16
	echo := func(word, execEnv string) string {
		return tomlProcess("web", "command = ['/bin/echo', '"+word+"']\nargs = []\ndirect = true\n"+execEnv)
	}
	i := newImage(t, tomlBuildpack("a/b", "0.12")+
		echo("tests", "exec-env = ['test']")+echo("production", "exec-env = ['staging', 'production']"))
	i.wantOutput("production\n", "web")
	i.environment = append(i.environment, "CNB_EXEC_ENV=test")
	i.wantOutput("tests\n", "web")
	i.environment = append(i.environment, "CNB_EXEC_ENV=other")
	i.wantFailure(82, `execution environment "other"`, "web")
	i.environment = append(i.environment, "CNB_PLATFORM_API=0.14")
	i.wantOutput("tests\n", "web")

	any := newImage(t, tomlBuildpack("a/b", "0.12")+echo("star", "exec-env = ['*']")+echo("second", ""))
	any.environment = append(any.environment, "CNB_EXEC_ENV=other")
	any.wantOutput("star\n", "web")
}

func TestWorkingDirectory(t *testing.T) { // LAU-09
	const pwd = "command = ['/bin/sh', '-c', 'pwd']\nargs = []\ndirect = true\n"
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("here", pwd)+
		tomlProcess("sub", pwd+"working-dir = 'sub'")+tomlProcess("abs", pwd+"working-dir = '/usr'")+
		tomlProcess("bad", pwd+"working-dir = 'nope'")+
		tomlProcess("shell", "command = ['pwd']\nargs = []\ndirect = false\nworking-dir = 'sub'")+
		tomlProcess("badshell", "command = ['pwd']\nargs = []\ndirect = false\nworking-dir = 'nope'"))
	i.wantOutput(i.path("app")+"\n", "here")
	i.wantOutput(i.path("app/sub")+"\n", "sub")
	i.wantOutput("/usr\n", "abs")
	i.wantOutput(i.path("app/sub")+"\n", "shell")
	i.wantFailure(82, "working directory", "bad")
	i.wantFailure(82, "working directory", "badshell")
}

func TestOwnVariablesAreDropped(t *testing.T) { // LAU-10, LAU-13
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/usr/bin/env']\nargs = []\ndirect = true"))
	i.environment = append(i.environment, "CNB_EXEC_ENV=production", "PATH=/usr/bin:/cnb/process:/bin:/cnb/lifecycle:/cnb/process/x", "Z=kept\nline")
	i.wantOutput("CNB_EXEC_ENV=production\nPATH=/usr/bin:/bin:/cnb/process/x\nZ=kept\nline\n", "web")
}

func TestLayersExtendTheEnvironment(t *testing.T) { // LAU-11, LAU-12
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlBuildpack("later", "0.12")+tomlBuildpack("empty", "0.12")+
		tomlProcess("web", "command = ['/usr/bin/env']\nargs = []\ndirect = true"))
	for _, directory := range []string{"a_b/one", "a_b/two", "later/three"} {
		for _, root := range []string{"bin", "lib", "include", "pkgconfig"} {
			i.write("layers/"+directory+"/"+root+"/keep", "")
		}
	}
	i.write("layers/a_b/one/env/ORDER.append", "1")
	i.write("layers/a_b/one/env.launch/ORDER.append", "2")
	i.write("layers/a_b/one/env.launch/web/ORDER.append", "3")
	i.write("layers/a_b/one/env.launch/other/ORDER.append", "X")
	i.write("layers/a_b/one/env.build/ORDER.append", "X")
	i.write("layers/a_b/two/env/ORDER.append", "4")
	i.write("layers/later/three/env/ORDER.append", "5")
	// Root directories come before all env files of the same buildpack: `two` is in PATH although `one` replaces it.
	i.write("layers/a_b/one/env/REPLACED.override", "by one")
	layers := i.path("layers")
	want := "PATH=" + layers + "/later/three/bin:" + layers + "/a_b/two/bin:" + layers + "/a_b/one/bin:/usr/bin:/bin\n" +
		"LD_LIBRARY_PATH=" + layers + "/later/three/lib:" + layers + "/a_b/two/lib:" + layers + "/a_b/one/lib\n" +
		"ORDER=12345\nREPLACED=by one\n"
	i.wantOutput(want, "web")

	i.write("layers/a_b/one/env/PATH", "/replaced")
	got := i.launch("web")
	if !strings.Contains(got.stdout, "PATH="+layers+"/later/three/bin:/replaced\n") {
		t.Errorf("PATH replaced after the root directories: %+v", got)
	}
	if got := i.launch("launcher", "--", "/usr/bin/env"); strings.Contains(got.stdout, "ORDER=123") {
		t.Errorf("env.launch/web without a type: %+v", got)
	}
}

func TestExecD(t *testing.T) { // LAU-14, LAU-15
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/usr/bin/env']\nargs = []\ndirect = true"))
	append1 := func(word string) string {
		return "#!/bin/sh\necho \"ORDER = \\\"${ORDER}" + word + "\\\"\" >&3\n"
	}
	i.write("layers/a_b/one/env/ORDER", "env,")
	i.write("layers/a_b/one/exec.d/b", append1("one-b,"))
	i.write("layers/a_b/one/exec.d/a", append1("one-a,"))
	i.write("layers/a_b/one/exec.d/web/a", append1("one-web,"))
	i.write("layers/a_b/one/exec.d/other/a", append1("X"))
	i.write("layers/a_b/two/exec.d/a", append1("two-a,"))
	i.write("layers/a_b/two/exec.d/z", "#!/bin/sh\necho out; echo err >&2; pwd; printf 'A = \"1\"\\nB = \"\"\"2\\n3\"\"\"\\n' >&3\n")
	got := i.launch("web")
	want := "out\n" + i.path("app") + "\nPATH=/usr/bin:/bin\nORDER=env,one-a,one-b,one-web,two-a,\nA=1\nB=2\n3\n"
	if got.stdout != want || got.stderr != "err\n" {
		t.Fatalf("got %+v, want %q", got, want)
	}
}

// SBX-24: the launcher adds descriptor 3 to programs of exec.d, and nothing to the process.
func TestDescriptors(t *testing.T) {
	const list = "cd /proc/self/fd; echo *"
	i := newImage(t, tomlBuildpack("a/b", "0.12")+
		tomlProcess("web", "command = ['/bin/sh', '-c', '"+list+"']\nargs = []\ndirect = true"))
	i.write("layers/a_b/one/exec.d/a", "#!/bin/sh\nexec /bin/sh -c '"+list+"'\n")
	own, err := exec.Command("/bin/sh", "-c", list).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(i.launch("web").stdout, "\n")
	if len(lines) != 3 || lines[1]+"\n" != string(own) || len(strings.Fields(lines[0])) != len(strings.Fields(lines[1]))+1 {
		t.Fatalf("without the launcher %q, with it %q", own, lines)
	}
}

func TestExecDFailures(t *testing.T) { // LAU-16
	for name, test := range map[string]struct{ script, text string }{
		"exit code":       {"#!/bin/sh\nexit 3\n", "exit status 3"},
		"not executable":  {"echo", "not executable"},
		"no interpreter":  {"#!/no/such/shell\n", "its interpreter /no/such/shell does not"},
		"not a string":    {"#!/bin/sh\necho 'A = 1' >&3\n", "A is not a string"},
		"a table":         {"#!/bin/sh\necho '[A]' >&3\n", "A is not a string"},
		"no TOML":         {"#!/bin/sh\necho 'A=unquoted' >&3\n", "line 1"},
		"impossible name": {"#!/bin/sh\necho '\"A=B\" = \"1\"' >&3\n", "cannot be a variable"},
		"too much":        {"#!/bin/sh\nhead -c 2000000 /dev/zero >&3\n", "1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", show))
			i.write("layers/a_b/one/exec.d/it", test.script)
			i.wantFailure(82, test.text, "web")
		})
	}
}

func TestADaemonOfExecDDoesNotHoldTheLaunch(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/bin/sh', '-c', 'echo $A']\nargs = []\ndirect = true"))
	i.write("layers/a_b/one/exec.d/it", "#!/bin/sh\necho 'A = \"1\"' >&3\nsleep 20 >/dev/null 2>&1 &\n")
	began := time.Now()
	i.wantOutput("1\n", "web")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestProfileScripts(t *testing.T) { // LAU-17
	i := newImage(t, tomlBuildpack("a/b", "0.8")+
		tomlProcess("web", "command = 'echo $ORDER; pwd'\nargs = []\ndirect = false\nworking-dir = 'sub'")+
		tomlProcess("direct", "command = '/usr/bin/env'\nargs = []\ndirect = true"))
	add := func(word string) string { return "export ORDER=${ORDER}" + word + ",\nhidden=1\n" }
	i.write("layers/a_b/it's/profile.d/b.sh", add("b"))
	i.write("layers/a_b/it's/profile.d/a.sh", add("a"))
	i.write("layers/a_b/it's/profile.d/web/a.sh", add("web"))
	i.write("layers/a_b/it's/profile.d/other/a.sh", add("X"))
	i.write("layers/a_b/z/profile.d/a.sh", add("z"))
	i.write("app/.profile", add("app:$(basename \"$PWD\"):$0"))
	i.wantOutput("a,b,web,z,app:app:web,\n"+i.path("app/sub")+"\n", "web")
	if got := i.launch("direct"); strings.Contains(got.stdout, "ORDER") {
		t.Errorf("a direct process sources profiles: %+v", got)
	}
	i.wantOutput("[]", "launcher", "printf", "[%s]", "$hidden")
}

func TestProcessReplacesTheLauncher(t *testing.T) { // LAU-18
	i := newImage(t, tomlBuildpack("a/b", "0.8")+
		tomlProcess("direct", "command = '/bin/sh'\nargs = ['-c', 'echo $$; exec sleep 60']\ndirect = true")+
		tomlProcess("script", "command = 'echo $$; exec sleep 60'\nargs = []\ndirect = false")+
		tomlProcess("tokens", "command = 'sh'\nargs = ['-c', 'echo \\$\\$; exec sleep 60']\ndirect = false"))
	if got := i.launch("launcher", "--", "/bin/sh", "-c", "exit 7"); got.code != 7 {
		t.Errorf("exit code: %+v", got)
	}
	for _, name := range []string{"direct", "script", "tokens"} {
		command := i.command(name)
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 32)
		n, _ := out.Read(line)
		if got := strings.TrimSpace(string(line[:n])); got != fmt.Sprint(command.Process.Pid) {
			t.Errorf("%s: runs as %q, the launcher was %d", name, got, command.Process.Pid)
		}
		command.Process.Signal(syscall.SIGTERM)
		command.Wait()
		if status := command.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
			t.Errorf("%s: ended with %v", name, command.ProcessState)
		}
	}
}

func TestFailureCodes(t *testing.T) { // LAU-19
	good := tomlBuildpack("a/b", "0.12") + tomlProcess("web", show)
	for name, test := range map[string]struct {
		metadata, variable string
		code               int
		text               string
	}{
		"platform API unset":    {good, "CNB_PLATFORM_API=", 11, "CNB_PLATFORM_API is not set"},
		"platform API too new":  {good, "CNB_PLATFORM_API=0.16", 11, "0.16"},
		"platform API too old":  {good, "CNB_PLATFORM_API=0.6", 11, "0.6"},
		"platform API nonsense": {good, "CNB_PLATFORM_API=new", 11, "new"},
		"platform API 1.0":      {good, "CNB_PLATFORM_API=1.0", 11, "1.0"},
		"buildpack API too new": {tomlBuildpack("a/b", "0.13"), "", 12, "a/b"},
		"buildpack API missing": {"[[buildpacks]]\nid = 'x'\n", "", 12, "x"},
		"metadata broken":       {"[[processes]\n", "", 1, "line 1"},
		"metadata absent":       {good, "CNB_LAYERS_DIR=/nope", 1, "/nope/config/metadata.toml"},
		"command of numbers":    {tomlProcess("web", "command = [1]"), "", 1, "strings"},
		"app absent":            {good, "CNB_APP_DIR=/nope", 82, "/nope"},
		"no command":            {tomlBuildpack("a/b", "0.12") + tomlProcess("web", "command = []"), "", 82, "no command"},
		"unknown buildpack":     {tomlProcess("web", "command = ['/bin/echo']\ndirect = true"), "", 82, "unknown buildpack"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImage(t, test.metadata)
			if test.variable != "" {
				i.environment = append(i.environment, test.variable)
			}
			i.wantFailure(test.code, test.text, "web", "argument")
		})
	}
}

func TestEveryAPIOfTheRangeIsAccepted(t *testing.T) {
	for minor := 7; minor <= 15; minor++ {
		i := newImage(t, tomlBuildpack("a/b", fmt.Sprintf("0.%d", min(minor, 12))))
		i.environment = append(i.environment, fmt.Sprintf("CNB_PLATFORM_API=0.%d", minor))
		i.wantOutput("ok\n", "launcher", "--", "echo", "ok")
	}
}

func TestExplanations(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12"))
	i.write("layers/a_b/venv/bin/serve", "#!"+i.path("layers/a_b/venv/bin/python")+"\n")
	if err := os.Symlink("/no/such/python3", i.path("layers/a_b/venv/bin/python")); err != nil {
		t.Fatal(err)
	}
	link := i.path("layers/a_b/venv/bin/python") + " is a link to /no/such/python3, which is missing"
	i.wantFailure(82, "exists, but its interpreter "+i.path("layers/a_b/venv/bin/python")+" does not: "+link, "launcher", "--", "serve")
	i.wantFailure(82, link, "launcher", "--", "python")
	i.wantFailure(82, `"nope" is not in PATH`, "launcher", "--", "nope")
	i.write("app/plain", "text")
	i.wantFailure(82, "not executable", "launcher", "--", "./plain")
}

func TestHostileEnvFiles(t *testing.T) { // SBX-07 at launch
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/usr/bin/env']\nargs = []\ndirect = true"))
	i.write("layers/a_b/one/env/A=B", "x")
	i.write("layers/a_b/one/env/.override", "x")
	if err := syscall.Mkfifo(i.path("layers/a_b/one/env/FIFO"), 0o644); err != nil {
		t.Fatal(err)
	}
	i.wantOutput("PATH=/usr/bin:/bin\n", "web")
	i.write("layers/a_b/one/env/NUL", "a\x00b")
	i.wantFailure(82, "NUL", "web")
}
