package launch

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

const env = "command = ['/usr/bin/env']\nargs = []\ndirect = true"

func TestLAU_10_OwnVariablesAreDropped(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", env))
	i.environment = append(i.environment, "CNB_EXEC_ENV=production", "PATH=/usr/bin:/cnb/process:/bin:/cnb/lifecycle:/cnb/process/x", "Z=kept\nline")
	i.wantOutput("CNB_EXEC_ENV=production\nPATH=/usr/bin:/bin:/cnb/process/x\nZ=kept\nline\n", "web")
}

func TestLAU_11_RootDirectoriesExtendTwoVariables(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlBuildpack("later", "0.12")+tomlBuildpack("empty", "0.12")+tomlProcess("web", env))
	for _, directory := range []string{"a_b/one", "a_b/two", "later/three"} {
		for _, root := range []string{"bin", "lib", "include", "pkgconfig"} {
			i.write("layers/"+directory+"/"+root+"/keep", "")
		}
	}
	i.write("layers/later/four/bin", "a file")
	i.write("layers/unlisted/five/bin/keep", "")
	layers := i.path("layers")
	i.wantOutput("PATH="+layers+"/later/three/bin:"+layers+"/a_b/two/bin:"+layers+"/a_b/one/bin:/usr/bin:/bin\n"+
		"LD_LIBRARY_PATH="+layers+"/later/three/lib:"+layers+"/a_b/two/lib:"+layers+"/a_b/one/lib\n", "web")
}

func TestLAU_12_OrderOfEnvironmentFiles(t *testing.T) {
	i := newImage(t, tomlBuildpack("z/first", "0.12")+tomlBuildpack("a/second", "0.12")+tomlProcess("web", env))
	i.write("layers/z_first/one/env/ORDER.append", "1")
	i.write("layers/z_first/one/env.launch/ORDER.append", "2")
	i.write("layers/z_first/one/env.launch/web/ORDER.append", "3")
	i.write("layers/z_first/one/env.launch/other/ORDER.append", "X")
	i.write("layers/z_first/one/env.build/ORDER.append", "X")
	i.write("layers/z_first/two/env/ORDER.append", "4")
	i.write("layers/a_second/three/env/ORDER.append", "5")
	i.wantOutput("PATH=/usr/bin:/bin\nORDER=12345\n", "web")
	i.wantOutput("PATH=/usr/bin:/bin\nORDER=1245\n", "launcher", "--", "/usr/bin/env")

	// Root directories come before all env files of the same buildpack: `two` is not in PATH, because `one` replaces it.
	i.write("layers/z_first/two/bin/keep", "")
	i.write("layers/a_second/three/bin/keep", "")
	i.write("layers/z_first/one/env/PATH", "/replaced")
	i.wantOutput("PATH="+i.path("layers/a_second/three/bin")+":/replaced\nORDER=12345\n", "web")
}

// `exec.d/web` may be a program, `env.launch/web` a variable and `profile.d/web` a script.
func TestLAU_12_AFileNamedLikeTheProcessIsAFile(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.8")+tomlProcess("web", "command = 'echo $web $A $B'\nargs = []\ndirect = false"))
	i.write("layers/a_b/one/env.launch/web", "variable")
	i.write("layers/a_b/one/exec.d/web", "#!/bin/sh\necho 'A = \"program\"' >&3\n")
	i.write("layers/a_b/one/profile.d/web", "B=script; export B\n")
	i.wantOutput("variable program script\n", "web")
	i.wantOutput("variable program script\n", "launcher", "echo", "$web", "$A", "$B")
}

func TestLAU_13_ContainerVariablesAreTheStart(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", env))
	for file, content := range map[string]string{
		"PLAIN": "layer", "OVERRIDE.override": "layer", "DEFAULT.default": "layer", "UNSET.default": "layer", "EMPTY.default": "layer",
		"APPEND.append": "layer", "APPEND.delim": "+", "PREPEND.prepend": "layer", "PREPEND.delim": "+",
	} {
		i.write("layers/a_b/one/env.launch/"+file, content)
	}
	i.environment = append(i.environment, "PLAIN=c", "OVERRIDE=c", "DEFAULT=c", "EMPTY=", "APPEND=c", "PREPEND=c")
	i.wantOutput("PATH=/usr/bin:/bin\nPLAIN=layer\nOVERRIDE=layer\nDEFAULT=c\nEMPTY=layer\nAPPEND=c+layer\nPREPEND=layer+c\nUNSET=layer\n", "web")
}

func TestLAU_14_LAU_15_ExecD(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlBuildpack("0/last", "0.12")+tomlProcess("web", env))
	append1 := func(word string) string {
		return "#!/bin/sh\necho \"ORDER = \\\"${ORDER}" + word + "\\\"\" >&3\n"
	}
	i.write("layers/a_b/one/env/ORDER", "env,")
	i.write("layers/a_b/one/exec.d/b", append1("one-b,"))
	i.write("layers/a_b/one/exec.d/a", append1("one-a,"))
	i.write("layers/a_b/one/exec.d/web/a", append1("one-web,"))
	i.write("layers/a_b/one/exec.d/other/a", append1("X"))
	i.write("layers/a_b/two/exec.d/a", append1("two-a,"))
	i.write("layers/0_last/three/exec.d/a", append1("last,"))
	i.write("layers/a_b/two/exec.d/z", "#!/bin/sh\necho out; echo err >&2; pwd; printf 'A = \"1\"\\nB = \"\"\"2\\n3\"\"\"\\n' >&3\n")
	got := i.launch("web")
	want := "out\n" + i.path("app") + "\nPATH=/usr/bin:/bin\nORDER=env,one-a,one-b,one-web,two-a,last,\nA=1\nB=2\n3\n"
	if got.stdout != want || got.stderr != "err\n" {
		t.Fatalf("got %+v, want %q", got, want)
	}
}

func TestSBX_24_Descriptors(t *testing.T) {
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

func TestLAU_16_ExecDFailures(t *testing.T) {
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

func TestLAU_15_ADaemonOfExecDDoesNotHoldTheLaunch(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", "command = ['/bin/sh', '-c', 'echo $A']\nargs = []\ndirect = true"))
	i.write("layers/a_b/one/exec.d/it", "#!/bin/sh\necho 'A = \"1\"' >&3\nsleep 20 >/dev/null 2>&1 &\n")
	began := time.Now()
	i.wantOutput("1\n", "web")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLAU_17_ProfileScripts(t *testing.T) {
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
