package launch

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestLAU_19_FailureCodes(t *testing.T) {
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

func TestLAU_19_EveryAPIOfTheRangeIsAccepted(t *testing.T) {
	for minor := 7; minor <= 15; minor++ {
		i := newImage(t, tomlBuildpack("a/b", fmt.Sprintf("0.%d", min(minor, 12))))
		i.environment = append(i.environment, fmt.Sprintf("CNB_PLATFORM_API=0.%d", minor))
		i.wantOutput("ok\n", "launcher", "--", "echo", "ok")
	}
}

func TestLAU_19_ThePlatformAPIIsCheckedFirstThenMetadataThenBuildpacks(t *testing.T) {
	i := newImage(t, "[[processes]")
	i.wantFailure(1, "metadata.toml: line 1", "web")
	i.environment = append(i.environment, "CNB_PLATFORM_API=")
	i.wantFailure(11, "CNB_PLATFORM_API", "web")
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

func TestSBX_07_HostileEnvironmentFiles(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", env))
	i.write("layers/a_b/one/env/A=B", "x")
	i.write("layers/a_b/one/env/.override", "x")
	i.write("layers/a_b/one/env/PIPED.append", "x")
	i.write("layers/a_b/one/env/FOLDER.append", "x")
	i.write("layers/a_b/one/env/FOLDER.delim/keep", "")
	for _, name := range []string{"FIFO", "PIPED.delim"} {
		if err := syscall.Mkfifo(i.path("layers/a_b/one/env/"+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	i.environment = append(i.environment, "PIPED=a", "FOLDER=a")
	i.wantOutput("PATH=/usr/bin:/bin\nPIPED=ax\nFOLDER=ax\n", "web")
	i.write("layers/a_b/one/env/NUL", "a\x00b")
	i.wantFailure(82, "NUL", "web")
}

func TestLAU_19_HugeFiles(t *testing.T) {
	i := newImage(t, tomlBuildpack("a/b", "0.12")+tomlProcess("web", env))
	i.write("layers/a_b/one/env/HUGE", "")
	if err := os.Truncate(i.path("layers/a_b/one/env/HUGE"), 1<<40); err != nil {
		t.Fatal(err)
	}
	i.wantFailure(82, "larger than 8 MiB", "web")
	if err := os.Truncate(i.path("layers/config/metadata.toml"), 1<<40); err != nil {
		t.Fatal(err)
	}
	i.wantFailure(1, "larger than 8 MiB", "web")
}
