package explain

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// start tries to start a program and returns the explanation of its failure.
func start(t *testing.T, path string) (string, int) {
	t.Helper()
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err == nil {
		syscall.Wait4(pid, nil, 0, nil)
		t.Fatalf("%s could be started", path)
	}
	return Start(path, err)
}

func TestStart(t *testing.T) {
	directory := t.TempDir()
	in := func(name string) string { return filepath.Join(directory, name) }
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(in(name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("script", "#! /no/such/python -I\n", 0o755)
	write("linked", "#!"+in("python")+"\n", 0o755)
	write("windows", "#!/bin/sh\r\n", 0o755)
	write("inner", "#!"+in("plain")+"\n", 0o755)
	write("plain", "text", 0o644)
	write("text", "no interpreter line", 0o755)
	write("empty", "", 0o755)
	for link, target := range map[string]string{"python": "python3", "python3": "/no/such/python3", "loop": "loop"} {
		if err := os.Symlink(target, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct {
		code int
		text string
	}{
		"absent":      {127, in("absent") + " does not exist"},
		"plain/below": {127, "does not exist"},
		"python":      {127, in("python") + " does not exist: " + in("python3") + " is a link to /no/such/python3, which is missing"},
		"loop":        {127, "does not exist"},
		"script":      {127, in("script") + " exists, but its interpreter /no/such/python does not"},
		"linked":      {127, "its interpreter " + in("python") + " does not: " + in("python3") + " is a link to /no/such/python3, which is missing"},
		"windows":     {127, "line ends"},
		"plain":       {126, "not executable"},
		"inner":       {126, "its interpreter " + in("plain") + " is not"},
		"text":        {126, "no program for this machine"},
		"empty":       {126, "no program for this machine"},
		".":           {126, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if text, code := start(t, in(name)); code != want.code || !strings.Contains(text, want.text) {
				t.Errorf("got %q, %d; want %q, %d", text, code, want.text, want.code)
			}
		})
	}
}

func TestBinariesOfAnotherSystem(t *testing.T) {
	content, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	loader, err := Interpreter("/bin/true")
	if err != nil || loader == "" {
		t.Skipf("/bin/true has no loader: %v", err)
	}
	path := filepath.Join(t.TempDir(), "program")
	other := "/no" + loader[3:]
	if err := os.WriteFile(path, bytes.Replace(content, []byte(loader), []byte(other), 1), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, code := start(t, path); code != 127 || !strings.HasSuffix(text, "its interpreter "+other+" does not") {
		t.Errorf("loader: %q, %d", text, code)
	}
	content[18] ^= 0xFF // the machine that it is for
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if text, code := start(t, path); code != 126 || !strings.Contains(text, "no program for this machine") {
		t.Errorf("machine: %q, %d", text, code)
	}
}

func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add(append([]byte("\x7fELF\x02\x01"), make([]byte, 120)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if name, err := Interpreter(path); err != nil || len(name) > 4096 {
			t.Fatalf("%q, %v", name, err)
		}
	})
}
