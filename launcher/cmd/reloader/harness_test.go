package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test's own program is copied into a layer, where it is the reloader, or by its first argument an application.
const asProgram = "RELOADER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "app" {
		demo(os.Args[2:])
	}
	os.Exit(run(os.Args[1:]))
}

// demo is one that says which content of a file it runs with, and its process id.
func demo(arguments []string) {
	content, _ := os.ReadFile("app.txt")
	text := strings.TrimSpace(string(content))
	switch {
	case strings.HasPrefix(text, "fail"):
		fmt.Printf("failing %s\n", text)
		os.Exit(3)
	case text == "done":
		os.Exit(0)
	case strings.HasPrefix(text, "stubborn"):
		signal.Ignore(syscall.SIGTERM)
	case strings.HasPrefix(text, "child"):
		left := exec.Command("/proc/self/exe", "app")
		left.Env = append(os.Environ(), "CHILD=1")
		if os.Getenv("CHILD") == "" {
			left.Stdout = os.Stdout
			left.Start()
		} else {
			signal.Ignore(syscall.SIGTERM)
		}
	}
	name := "app"
	if len(arguments) > 0 {
		name = arguments[0]
	}
	if port := os.Getenv("PORT"); port != "" && strings.HasPrefix(text, "listen") {
		time.Sleep(50 * time.Millisecond)
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer listener.Close()
	}
	if strings.HasPrefix(text, "own") {
		kept, _ := os.OpenFile("data.txt", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		go func() {
			for range time.Tick(20 * time.Millisecond) {
				fmt.Fprintln(kept, "more")
				os.Chmod("data.txt", 0o600) // an event
			}
		}()
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGUSR1)
	if text != "raw" && !strings.HasPrefix(text, "stubborn") && os.Getenv("CHILD") == "" {
		signal.Notify(ended, syscall.SIGTERM)
	}
	fmt.Printf("%s runs %s as %d\n", name, text, os.Getpid())
	for received := range ended {
		fmt.Printf("%s received %v\n", name, received)
		if received != syscall.SIGUSR1 {
			os.Exit(7)
		}
	}
}

const patient = 15 * time.Second

// image is what a container would have: a layer with the reloader and rules, the application's directory.
type image struct {
	t       *testing.T
	root    string
	program string
	app     string
	env     []string
	with    *syscall.SysProcAttr
}

const usualRules = `{"version":1,"rules":[
	{"src":["ignored/**"],"action":"ignore"},
	{"src":["build.txt"],"action":"rebuild"},
	{"src":["*.src"],"action":"restart","exec":["BIN","app","compile"]},
	{"src":["*.tpl"],"action":"sync"},
	{"src":["*.code"],"action":"reload"},
	{"src":["**"],"action":"restart"}]}`

func newImage(t *testing.T, rules string) *image {
	t.Helper()
	// Sockets have short paths only.
	root, err := os.MkdirTemp("/tmp", "reloader")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	must(t, os.Chmod(root, 0o755))
	made := &image{t: t, root: root, program: filepath.Join(root, "layer/bin/reloader"), app: filepath.Join(root, "app")}
	for _, directory := range []string{"layer/bin", "app", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(root, directory), 0o755))
	}
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	for _, path := range []string{made.program, filepath.Join(root, "demo")} {
		must(t, os.WriteFile(path, self, 0o755))
	}
	text := strings.ReplaceAll(rules, "BIN", filepath.Join(root, "compile"))
	must(t, os.WriteFile(filepath.Join(root, "layer/rules.json"), []byte(text), 0o644))
	made.env = []string{asProgram + "=1", "CNB_APP_DIR=" + made.app, "PACKRUNNER_RELOADER_DIR=" + filepath.Join(root, "tmp"), "PACKRUNNER_RELOADER_GRACE=0.3"}
	return made
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a file of the application as editors do: beside it first.
func (i *image) write(path, text string) {
	i.t.Helper()
	full := filepath.Join(i.app, path)
	must(i.t, os.MkdirAll(filepath.Dir(full), 0o755))
	beside := filepath.Join(i.root, "tmp", "edited")
	must(i.t, os.WriteFile(beside, []byte(text), 0o644))
	must(i.t, os.Rename(beside, full))
}

// running is a program of the image, with its output so far.
type running struct {
	t       *testing.T
	command *exec.Cmd
	stdin   io.WriteCloser
	mutex   sync.Mutex
	lines   []string
	read    int
	more    chan struct{}
	over    chan struct{}
}

func (i *image) start(arguments ...string) *running {
	i.t.Helper()
	command := exec.Command(i.program, arguments...)
	command.Dir, command.Env, command.SysProcAttr = i.app, i.env, i.with
	if i.with != nil && i.with.Chroot != "" {
		command.Path, command.Dir = "/layer/bin/reloader", "/app"
	}
	output, write := io.Pipe()
	command.Stdout, command.Stderr = write, write
	command.WaitDelay = time.Second // for the output of who outlives it
	stdin, err := command.StdinPipe()
	must(i.t, err)
	started := &running{t: i.t, command: command, stdin: stdin, more: make(chan struct{}, 1), over: make(chan struct{})}
	must(i.t, command.Start())
	i.t.Cleanup(func() {
		command.Process.Signal(syscall.SIGKILL)
		<-started.over
	})
	go func() {
		command.Wait()
		write.Close()
		close(started.over)
	}()
	go func() {
		lines := bufio.NewScanner(output)
		lines.Buffer(nil, 1<<22)
		for lines.Scan() {
			started.mutex.Lock()
			started.lines = append(started.lines, lines.Text())
			started.mutex.Unlock()
			select {
			case started.more <- struct{}{}:
			default:
			}
		}
	}()
	return started
}

// supervise starts an application under the supervisor and waits until it runs.
func (i *image) supervise(name string, options ...string) *running {
	i.t.Helper()
	program := filepath.Join(i.root, "demo")
	if i.with != nil && i.with.Chroot != "" {
		program = "/demo"
	}
	arguments := append([]string{"run", "--name", name}, options...)
	return i.start(append(arguments, "--", program, "app", name)...)
}

// expect waits for a line with text, after those that were expected before, and returns it.
func (r *running) expect(text string) string {
	r.t.Helper()
	deadline := time.After(patient)
	for {
		r.mutex.Lock()
		for r.read < len(r.lines) {
			line := r.lines[r.read]
			r.read++
			if strings.Contains(line, text) {
				r.mutex.Unlock()
				return line
			}
		}
		r.mutex.Unlock()
		select {
		case <-r.more:
		case <-deadline:
			r.mutex.Lock()
			defer r.mutex.Unlock()
			r.t.Fatalf("no line with %q; the output:\n%s", text, strings.Join(r.lines, "\n"))
		}
	}
}

// unseen are the lines that were not expected yet.
func (r *running) unseen() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return strings.Join(r.lines[r.read:], "\n")
}

func (r *running) code() int {
	r.t.Helper()
	select {
	case <-r.over:
	case <-time.After(patient):
		r.t.Fatalf("it does not end; the output:\n%s", r.unseen())
	}
	return r.command.ProcessState.ExitCode()
}

func (r *running) signal(number syscall.Signal) {
	r.t.Helper()
	must(r.t, r.command.Process.Signal(number))
}

// ask sends a request to a program that is attached.
func (r *running) ask(request any, content ...string) {
	r.t.Helper()
	text, err := json.Marshal(request)
	must(r.t, err)
	_, err = r.stdin.Write([]byte(string(text) + "\n" + strings.Join(content, "")))
	must(r.t, err)
}

// settle runs `reloader settle` to its end.
func (i *image) settle() (code int, output string) {
	i.t.Helper()
	settled := i.start("settle")
	code = settled.code()
	return code, settled.unseen()
}

// following waits until the supervisor follows the tree.
func (i *image) following() {
	i.t.Helper()
	for deadline := time.Now().Add(patient); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatal("nobody follows")
		}
		found, _ := filepath.Glob(filepath.Join(i.root, "tmp/packrunner-reloader-*/*.sock"))
		for _, path := range found {
			if connection, err := net.Dial("unix", path); err == nil {
				fmt.Fprintln(connection, `{"ask":"status"}`)
				line, _ := bufio.NewReader(connection).ReadString('\n')
				connection.Close()
				if strings.Contains(line, `"leads":true`) {
					return
				}
			}
		}
	}
}
