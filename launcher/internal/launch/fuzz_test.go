package launch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// Each target compares the launcher with a model that is slow and short. `make fuzz` runs them; an ordinary test run
// replays their seeds.

// FuzzMetadata: the quick decoder gives what the general one gives, or leaves the document to it.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("[[processes]]\ntype = 'web'\ncommand = ['a', 'b']\nargs = []\ndirect = true\nbuildpack-id = 'x'\n[[buildpacks]]\nid = 'x'\napi = '0.12'\n"))
	f.Add([]byte("[[processes]]\ncommand = 'a'\nexec-env = ['*']\n[[processes.x]]\ny = 1\n"))
	f.Add([]byte("buildpack-default-process-type = \"web\"\n[[labels]]\nkey = \"k\"\n[[slices]]\npaths = [\"a\"]\n[[processes]]\nworking-dir = \"/\\u00e9\"\n"))
	f.Add([]byte("processes = [{type = 'web', command = ['a']}, {}]\nbuildpacks = []\n[[labels]]\n"))
	f.Add([]byte("buildpacks = [{id = 'a', id = 'b'}]\n"))
	f.Add([]byte("buildpacks = [{id = 'a'}, 'b']\n[[buildpacks]]\n"))
	f.Add([]byte("[[processes]]\ntype = 'a'\nType = 'b'\n"))
	f.Add([]byte("[[processes]]\ntype = 'a'\ntype = 'b'\n"))
	f.Add([]byte("processes = 'x'\n[[processes]]\n"))
	f.Add([]byte("labels = 'x'\n[[labels]]\n"))
	f.Add([]byte("[processes]\n"))
	f.Add([]byte("[[\"\"]]\nprocesses = [{type = 'a'}]\n"))
	f.Add([]byte("a = 1__2"))
	f.Add([]byte("a = " + strings.Repeat("[", 20_000)))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := parseMetadata(content)
		if err != nil && strings.Contains(oneLine(err), "\n") {
			t.Errorf("more than one line: %q", oneLine(err))
		}
		var want metadata
		wantErr := toml.Unmarshal(content, &want)
		for i, p := range want.Processes {
			var commandErr error
			want.Processes[i].command, commandErr = parseCommand(p.RawCommand)
			wantErr = errors.Join(wantErr, commandErr)
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got %v, the general decoder %v", err, wantErr)
		}
		if err == nil && fmt.Sprintf("%q", plainly(got)) != fmt.Sprintf("%q", plainly(want)) {
			t.Fatalf("got %+v, the general decoder %+v", got, want)
		}
	})
}

// plainly is all of the metadata as text, with lists that are nil or empty alike.
func plainly(m metadata) (text []string) {
	for _, b := range m.Buildpacks {
		text = append(text, b.ID, b.API)
	}
	for _, p := range m.Processes {
		text = append(text, p.Type, p.BuildpackID, p.WorkingDir, fmt.Sprintf("%q %q %q %t", p.command, p.Args, p.ExecEnv, p.Direct))
	}
	return text
}

// FuzzExecD: whatever a program writes, only variables that the system can hold come out; and a variable that is
// written as TOML says comes out as it was.
func FuzzExecD(f *testing.F) {
	f.Add([]byte("A = \"1\"\nB = '2'\n"), "NAME", "value")
	f.Add([]byte("[a]\nb = 1"), "with space", "two\nlines")
	f.Add([]byte("\"A=B\" = \"x\""), "A=B", "\x00")
	f.Add([]byte("A = \"\\u0000\""), "", "\"quoted\\")
	f.Add([]byte("A.b = \"1\"\nA = {b = '1'}"), "é", "\t\r\n\x7f")
	f.Fuzz(func(t *testing.T, output []byte, name, value string) {
		variables, err := parseExecD(output)
		if err != nil {
			oneLine(err)
		}
		for name, value := range variables {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
				t.Errorf("accepted %q = %q", name, value)
			}
		}
		var want map[string]string
		valid := name != "" && !strings.ContainsAny(name, "=\x00") && !strings.Contains(value, "\x00")
		if valid {
			want = map[string]string{asWritten(name): asWritten(value)}
		}
		got, err := parseExecD([]byte(basicString(name) + " = " + basicString(value) + "\n"))
		if valid != (err == nil) || !maps.Equal(got, want) {
			t.Errorf("%q = %q: got %q, %v", name, value, got, err)
		}
	})
}

// basicString writes a string of TOML with every character escaped; TOML has no bytes that are not UTF-8.
func basicString(text string) string {
	escaped := "\""
	for _, r := range text {
		escaped += fmt.Sprintf("\\U%08X", r)
	}
	return escaped + "\""
}

func asWritten(text string) string { return string([]rune(text)) }

// FuzzEnvDirectory: files of any name and content do to the environment what the specification's table says.
func FuzzEnvDirectory(f *testing.F) {
	f.Add("V.append", "b", "V.delim", ":", "V", "c", "a")
	f.Add("V.prepend", "b", "V.delim", "", "V.default", "c", "")
	f.Add("V.default", "b", "W.delim", ":", "V.delim.append", "c", "")
	f.Add("A=B", "b", ".override", "c", "V.bar", "d", "a")
	f.Add("V.append.x", "\x00", "V.delim", "\x00", "V.append", "d", "a")
	f.Add("V", "\xff\n", "\xff.append", "c", "v.append", "d", "a")
	f.Fuzz(func(t *testing.T, file1, content1, file2, content2, file3, content3, old string) {
		files := map[string]string{file1: content1, file2: content2, file3: content3}
		directory := t.TempDir()
		for file, content := range files {
			if strings.ContainsAny(file, "/\x00") || os.WriteFile(filepath.Join(directory, file), []byte(content), 0o644) != nil {
				t.Skip("the file system takes no such name")
			}
		}
		env := processEnvironment([]string{"V=" + old, "OTHER=same"})
		err := addAll(env, directory)
		want := map[string]string{"V": old, "OTHER": "same"}
		if valid := modelOfEnvDirectory(files, want); valid != (err == nil) {
			t.Fatalf("%q: got %v, the model says %v", files, err, valid)
		}
		if err == nil && !maps.Equal(env.values, want) {
			t.Fatalf("%q: got %q, want %q", files, env.values, want)
		}
	})
}

var envFile = regexp.MustCompile(`(?s)^([^.=]+)(\.(append|default|override|prepend|))?$`)

// modelOfEnvDirectory changes the variables and reports whether all values can be variables.
func modelOfEnvDirectory(files, variables map[string]string) bool {
	for _, file := range slices.Sorted(maps.Keys(files)) {
		match := envFile.FindStringSubmatch(file)
		if match == nil {
			continue
		}
		name, value := match[1], files[file]
		old, delimiter := variables[name], files[name+".delim"]
		if strings.Contains(value, "\x00") {
			return false
		}
		switch {
		case match[3] == "" || match[3] == "override":
			variables[name] = value
		case old == "":
			variables[name] = value
		case match[3] == "default":
		case strings.Contains(delimiter, "\x00"):
			return false
		case match[3] == "append":
			variables[name] = old + delimiter + value
		case match[3] == "prepend":
			variables[name] = value + delimiter + old
		}
	}
	return true
}

// FuzzArguments: which process, how and with which arguments; against the Platform specification, sentence by sentence.
func FuzzArguments(f *testing.F) {
	const sep = "\x1f"
	f.Add("/cnb/process/web", "user", "web", "cmd"+sep+"fixed", "own", "", "", byte(15), byte(12), false)
	f.Add("web", "", "web", "cmd", "own"+sep+"two", "test", "production", byte(15), byte(8), false)
	f.Add("launcher", "--"+sep+"cmd"+sep+"--", "web", "", "", "*", "", byte(9), byte(9), true)
	f.Add("a.b", "--", "a.b", "cmd", "", "", "", byte(7), byte(7), true)
	f.Add("", "", "", "", "", "", "", byte(10), byte(9), false)
	f.Add("web/", "x", ".", "cmd", "", "other", "other", byte(14), byte(12), true)
	f.Fuzz(func(t *testing.T, self, user, name, command, args, execEnv, wanted string, platform, author byte, direct bool) {
		listed := process{Type: name, command: list(command), Args: list(args), ExecEnv: list(execEnv), BuildpackID: "x", Direct: direct}
		second := process{Type: name, command: []string{"second"}, BuildpackID: "x"}
		found := metadata{
			Processes:  []process{{Type: "other", command: []string{"other"}}, listed, second},
			Buildpacks: []buildpack{{ID: "x", version: version{0, int(author)}}},
		}
		got, err := selectProcess(found, version{0, int(platform)}, wanted, self, list(user))
		want := modelOfArguments(found, int(platform), int(author), wanted, self, list(user))
		if (want == nil) != (err != nil) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
		if want != nil && !reflect.DeepEqual(normal(got), normal(*want)) {
			t.Fatalf("got %+v, want %+v", got, *want)
		}
	})
}

// list reads words that are separated by the control character for that.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x1f")
}

func normal(s selection) selection {
	s.args = append([]string{}, s.args...)
	return s
}

func modelOfArguments(found metadata, platform, author int, wanted, self string, user []string) *selection {
	known := false
	for _, p := range found.Processes {
		if p.Type != filepath.Base(self) {
			continue
		}
		known = true
		everywhere := len(p.ExecEnv) == 0 || slices.Contains(p.ExecEnv, "*") || platform < 15
		if !everywhere && !slices.Contains(p.ExecEnv, wanted) {
			continue
		}
		if len(p.command) == 0 || p.command[0] == "" {
			return nil
		}
		chosen := selection{name: p.Type, command: p.command[0], args: append([]string{}, p.command[1:]...), direct: p.Direct}
		if p.BuildpackID == "" { // `other`: nobody's, so nothing tells what arguments would do
			if platform >= 10 && len(user) > 0 {
				return nil
			}
			chosen.args = append(chosen.args, user...)
			return &chosen
		}
		supportsDefaults := platform >= 10 && (author >= 9 || len(p.command) > 1)
		if supportsDefaults {
			chosen.direct = true
		}
		if !supportsDefaults || len(user) == 0 {
			chosen.args = append(chosen.args, p.Args...)
		}
		chosen.args = append(chosen.args, user...)
		return &chosen
	}
	switch {
	case known, len(user) == 0, len(user) == 1 && user[0] == "--":
		return nil
	case user[0] == "--":
		return &selection{command: user[1], args: user[2:], direct: true}
	}
	return &selection{command: user[0], args: user[1:]}
}

// FuzzShell: words whose special characters are escaped arrive byte for byte, below directories of any name.
func FuzzShell(f *testing.F) {
	f.Add("plain", "two  words", "dir")
	f.Add("$A `x` \\ \"", "-n", "it's")
	f.Add("'", "*\n", "$(x) \"")
	f.Add("!\xff", "", "-P")
	f.Add("--", "~", "a\nb\\")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	f.Fuzz(func(t *testing.T, first, second, name string) {
		directory := filepath.Join(t.TempDir(), name)
		if strings.ContainsAny(first+second+name, "\x00") || strings.Contains(name, "/") || name == ".." || os.MkdirAll(directory, 0o755) != nil {
			t.Skip("the system takes no such name")
		}
		profile := filepath.Join(directory, "profile.sh")
		if err := os.WriteFile(profile, []byte("export FROM=profile\n"), 0o644); err != nil {
			t.Skip(err)
		}
		chosen := selection{command: "printf", args: []string{`[%s]`, escape.Replace(first), escape.Replace(second), "$FROM", "$PWD"}}
		shell := exec.Command(shell, shellArguments("self", []string{profile}, directory, chosen)[1:]...)
		shell.Env = []string{"PATH=/usr/bin:/bin"}
		out, err := shell.CombinedOutput()
		if want := fmt.Sprintf("[%s][%s][profile][%s]", first, second, directory); err != nil || string(out) != want {
			t.Fatalf("got %q, %v; want %q", out, err, want)
		}
	})
}
