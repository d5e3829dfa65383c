package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestLAU_01_BasenameSelectsTheProcess(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+
		tomlProcess("web", "command = ['/bin/echo', 'web']\nargs = []\ndirect = true")+
		tomlProcess("a.b", "command = ['/bin/echo', 'dotted']\nargs = []\ndirect = true"))
	i.wantOutput("web\n", "/cnb/process/web")
	i.wantOutput("web\n", "web")
	i.wantOutput("dotted\n", "/cnb/process/a.b")
	i.wantOutput("given\n", "/cnb/lifecycle/launcher", "--", "/bin/echo", "given")
}

func TestLAU_02_ProcessTypeVariableOnlyWarns(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", env))
	i.environment = append(i.environment, "CNB_PROCESS_TYPE=other")
	got := i.launch("web")
	if got.code != 0 || !strings.Contains(got.stderr, "CNB_PROCESS_TYPE") || strings.Contains(got.stdout, "CNB_PROCESS_TYPE") {
		t.Fatalf("%+v", got)
	}
}

func TestLAU_03_NothingToStart(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", show))
	i.wantFailure(82, "entrypoints web", "launcher")
	i.wantFailure(82, "nothing to start", "launcher", "--")
	t.Setenv("CNB_PLATFORM_API", "0.15")
	t.Setenv("CNB_LAYERS_DIR", i.path("layers"))
	var failure *Failure
	if err := Launch(nil); !errors.As(err, &failure) || failure.Code != CodeLaunch {
		t.Errorf("without even a name of its own: %v", err)
	}
}

func TestLAU_04_UserCommandAfterDashes(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12"))
	i.write("layers/a_b/tools/bin/tool", "#!/bin/sh\nprintf 'tool %s %s' \"$PWD\" \"$1\"\n")
	i.write("layers/a_b/moved/env.launch/PATH.append", i.path("app/own"))
	i.write("layers/a_b/moved/env.launch/PATH.delim", ":")
	i.write("app/own/mine", "#!/bin/sh\necho mine\n")
	i.environment = append(i.environment, "A=value of a")
	i.wantOutput("tool "+i.path("app")+" $A", "launcher", "--", "tool", "$A")
	i.wantOutput("mine\n", "launcher", "--", "mine")
	i.wantOutput("mine\n", "launcher", "--", "own/mine")
}

func TestLAU_05_UserCommandThroughTheShell(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12"))
	i.environment = append(i.environment, "A=value of a")
	i.wantOutput("value of a\n", "launcher", "echo $A | cat")
	i.wantOutput("$A\n", "launcher", `echo '$A' | cat`)
	i.wantOutput("[value of a][x  y][*][-n]", "launcher", "printf", "[%s]", "$A", "x  y", "*", "-n")
	i.wantOutput("it's [value of a]", "launcher", "printf", "%s", `it's [$A]`)
	i.wantOutput("[a][][b]", "launcher", "printf", "[%s]", "a", `not"closed`, "b")
	i.wantOutput(i.path("app")+"\n", "launcher", "pwd")
}

func TestLAU_05_TokensRunBuiltinsAndKeepTheirExitCode(t *testing.T) {
	i := newImage(t, "")
	if got := i.launch("launcher", "test", "-e", "/nope"); got.code != 1 {
		t.Errorf("builtin: %+v", got)
	}
	if got := i.launch("launcher", "no-such-program", "x"); got.code != 127 {
		t.Errorf("absent: %+v", got)
	}
}

func TestUserArguments(t *testing.T) {
	const list = "command = ['/usr/bin/printf', '[%s]', 'always']\nargs = ['own']\ndirect = true"
	const single = "command = ['/bin/echo']\nargs = ['own']\ndirect = true"
	const text = "command = '/bin/echo'\nargs = ['own']\ndirect = true"
	for name, test := range map[string]struct{ buildpack, platform, process, without, with string }{
		"LAU-06 fixed part":               {"0.9", "0.10", list, "[always][own]", "[always][user]"},
		"LAU-06 one word":                 {"0.12", "0.15", single, "own\n", "user\n"},
		"LAU-06 one word, oldest":         {"0.9", "0.10", single, "own\n", "user\n"},
		"LAU-06 string on a new platform": {"0.12", "0.10", text, "own\n", "user\n"},
		"LAU-07 old buildpack":            {"0.8", "0.15", single, "own\n", "own user\n"},
		"LAU-07 oldest buildpack":         {"0.7", "0.10", text, "own\n", "own user\n"},
		"LAU-07 old platform":             {"0.12", "0.9", text, "own\n", "own user\n"},
		"LAU-07 old platform, list":       {"0.12", "0.9", list, "[always][own]", "[always][own][user]"},
		"LAU-07 both old":                 {"0.8", "0.7", text, "own\n", "own user\n"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImage(t, tomlBuildpack("a/b", test.buildpack)+tomlProcess("web", test.process))
			i.environment = append(i.environment, "CNB_PLATFORM_API="+test.platform)
			i.wantOutput(test.without, "web")
			i.wantOutput(test.with, "web", "user")
		})
	}
}

// The Platform specification: where args are defaults, `direct` is true, whatever metadata.toml says.
func TestLAU_06_ProcessesWithDefaultArgsAreDirect(t *testing.T) {
	for _, test := range []struct{ buildpack, platform, want string }{
		{"0.12", "0.15", "$A\n"}, {"0.9", "0.10", "$A\n"}, {"0.8", "0.15", "a\n"}, {"0.12", "0.9", "a\n"},
	} {
		i := newImage(t, tomlBuildpack("a/b", test.buildpack)+tomlProcess("web", "command = ['echo']\nargs = ['$A']"))
		i.environment = append(i.environment, "A=a", "CNB_PLATFORM_API="+test.platform)
		i.wantOutput(test.want, "web")
	}
}

func TestLAU_08_BLD_16_ExecutionEnvironments(t *testing.T) {
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

func TestLAU_09_WorkingDirectory(t *testing.T) {
	const pwd = "command = ['/bin/sh', '-c', 'pwd']\nargs = []\ndirect = true\n"
	const shellPwd = "command = ['pwd']\nargs = []\ndirect = false\n"
	i := newImage(t, tomlBuildpack("a/b", "0.8")+tomlProcess("here", pwd)+
		tomlProcess("sub", pwd+"working-dir = 'sub'")+tomlProcess("abs", pwd+"working-dir = '/usr'")+
		tomlProcess("bad", pwd+"working-dir = 'nope'")+
		tomlProcess("shell", shellPwd+"working-dir = 'sub'")+tomlProcess("badshell", shellPwd+"working-dir = 'nope'")+
		tomlProcess("made", shellPwd+"working-dir = 'made here'"))
	i.wantOutput(i.path("app")+"\n", "here")
	i.wantOutput(i.path("app/sub")+"\n", "sub")
	i.wantOutput("/usr\n", "abs")
	i.wantOutput(i.path("app/sub")+"\n", "shell")
	i.wantFailure(82, "working directory", "bad")
	if got := i.launch("badshell"); got.code != 82 || !strings.Contains(got.stderr, "/nope: No such file") || got.stdout != "" {
		t.Errorf("a shell without its working directory: %+v", got)
	}
	i.write("layers/a_b/one/profile.d/made/it.sh", "mkdir 'made here'\n")
	i.wantOutput(i.path("app/made here")+"\n", "made")
}

func TestLAU_18_ProcessReplacesTheLauncher(t *testing.T) {
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

// Go programs raise their limit of open files; the process must not notice.
func TestLAU_18_LimitsAndSignalsAreThoseOfTheContainer(t *testing.T) {
	const show = `ulimit -Sn; grep -E "^Sig(Blk|Ign)" /proc/self/status`
	i := newImage(t, "")
	script := "ulimit -Sn 200; exec \"$0\" \"$@\""
	run := func(arguments ...string) string {
		command := exec.Command("/bin/sh", append([]string{"-c", script}, arguments...)...)
		command.Env = append(i.environment, modeVariable+"=1")
		out, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	bare := run("/bin/sh", "-c", show)
	if got := run(os.Args[0], "--", "/bin/sh", "-c", show); got != bare || !strings.HasPrefix(got, "200\n") {
		t.Errorf("through the launcher %q, without %q", got, bare)
	}
}
