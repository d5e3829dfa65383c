package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestASavedFileRestartsTheProcess(t *testing.T) { // LIV-01
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	for n := range 3 {
		i.write("app.txt", fmt.Sprint("v", n+2))
		web.expect("app.txt changed; restarting web")
		web.expect(fmt.Sprint("web runs v", n+2))
	}
}

func TestALateWriteIsNotLost(t *testing.T) { // LIV-02
	i := newImage(t, usualRules)
	i.write("app.txt", "v")
	web := i.supervise("web")
	web.expect("web runs v")
	i.following()
	file, err := os.OpenFile(filepath.Join(i.app, "app.txt"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	for n := range 10 {
		fmt.Fprint(file, n)
		time.Sleep(10 * time.Millisecond)
	}
	must(t, file.Close())
	web.expect("web runs v0123456789")
}

func TestDirectoriesThatAppearAreLookedInto(t *testing.T) { // LIV-03, LIV-04
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	i.write("a/b/c/deep.x", "1")
	web.expect("a/b/c/deep.x changed")
	must(t, os.Rename(filepath.Join(i.app, "a"), filepath.Join(i.root, "away")))
	web.expect("a/b/c/deep.x changed")
	must(t, os.Rename(filepath.Join(i.root, "away"), filepath.Join(i.app, "back")))
	web.expect("back/b/c/deep.x changed")
	i.write("back/b/c/deep.x", "2")
	web.expect("back/b/c/deep.x changed")
	must(t, os.RemoveAll(filepath.Join(i.app, "back")))
	web.expect("back/b/c/deep.x changed")
	i.write("back", "a file now") // LIV-05
	web.expect("back changed")
}

func TestWhatMeansNothingCausesNothing(t *testing.T) { // LIV-10
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	line := web.expect("web runs v1")
	i.following()
	i.write("ignored/x", "1")
	i.write("build.txt", "1")
	i.write("page.tpl", "1")
	if code, output := i.settle(); code != 0 || output != "" {
		t.Errorf("settle: %d, %s", code, output)
	}
	if rest := web.unseen(); rest != "" {
		t.Errorf("after %q: %s", line, rest)
	}
}

func TestAFileOfTheSameSizeAndTimeIsAnother(t *testing.T) { // LIV-11
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	path := filepath.Join(i.app, "app.txt")
	before, err := os.Stat(path)
	must(t, err)
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	must(t, os.WriteFile(path, []byte("v2"), 0o644))
	must(t, os.Chtimes(path, before.ModTime(), before.ModTime()))
	web.expect("web runs v2")
}

func TestAProcessThatIgnoresTheSignalIsKilled(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "stubborn")
	web := i.supervise("web")
	web.expect("web runs stubborn")
	i.following()
	i.write("app.txt", "v2")
	web.expect("web does not end by SIGTERM; killed after 300ms")
	web.expect("web runs v2")
}

func TestNobodyOfTheOldProcessStays(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "child")
	web := i.supervise("web")
	var pids []string
	for range 2 {
		line := web.expect(" runs child as ")
		pids = append(pids, line[strings.LastIndexByte(line, ' ')+1:])
	}
	i.following()
	i.write("app.txt", "v2")
	web.expect("web runs v2")
	for _, pid := range pids {
		deadline := time.Now().Add(patient)
		for _, err := os.Stat("/proc/" + pid); err == nil; _, err = os.Stat("/proc/" + pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %s is still there", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func TestAfterACrashAChangeStartsItAgain(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "fail")
	web := i.supervise("web")
	web.expect("failing fail")
	web.expect("web ended with exit code 3; waiting for a change, or 1s")
	i.write("page.tpl", "an action of sync, which starts what does not run")
	web.expect("web ended with exit code 3")
	i.write("app.txt", "v2")
	web.expect("web runs v2")
}

func TestACrashIsTriedAgainLaterAndLater(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "fail")
	web := i.supervise("web")
	web.expect("waiting for a change, or 1s")
	web.expect("failing")
	web.expect("waiting for a change, or 2s")
}

func TestAProcessThatIsDoneIsStartedByAChangeOnly(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "done")
	web := i.supervise("web")
	if line := web.expect("web ended with exit code 0"); !strings.HasSuffix(line, "waiting for a change") {
		t.Error(line)
	}
	i.following()
	i.write("app.txt", "v2")
	web.expect("web runs v2")
}

func TestAMissingProgramIsACrash(t *testing.T) {
	i := newImage(t, usualRules)
	web := i.start("run", "--name", "web", "--", "no-such-program")
	web.expect("cannot start no-such-program")
	web.expect("exit code 127")
}

func TestSignalsArePassedOnAndTheCodeIsTheProcesss(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	web.signal(syscall.SIGUSR1)
	web.expect("web received user defined signal 1")
	web.signal(syscall.SIGTERM)
	web.expect("web received terminated")
	if code := web.code(); code != 7 {
		t.Errorf("exit code %d", code)
	}
	if left, _ := filepath.Glob(filepath.Join(i.root, "tmp/*/*.sock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestASignalDuringARestartEndsTheSupervisor(t *testing.T) {
	i := newImage(t, usualRules)
	i.env = append(i.env, "PACKRUNNER_RELOADER_GRACE=2")
	i.write("app.txt", "stubborn")
	web := i.supervise("web")
	web.expect("web runs")
	i.following()
	i.write("app.txt", "v2")
	web.expect("changed; restarting web")
	web.signal(syscall.SIGTERM)
	if code := web.code(); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
	if rest := web.unseen(); strings.Contains(rest, "runs v2") {
		t.Error(rest)
	}
}

func TestAProcessWithoutHandlersEndsBySignal(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "raw")
	web := i.supervise("web")
	web.expect("web runs raw")
	web.signal(syscall.SIGTERM)
	if code := web.code(); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
}

func TestACommandThatFailsKeepsTheProcess(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	i.compiler("exit 9")
	i.write("x.src", "1")
	web.expect("exit code 9; nothing is restarted")
	code, output := i.settle()
	if code != 9 || !strings.Contains(output, "compiled x.src\n") {
		t.Errorf("settle: %d, %s", code, output)
	}
	if code, output := i.settle(); code != 9 || strings.Contains(output, "compiled") {
		t.Errorf("the second settle: %d, %s", code, output)
	}
	if rest := web.unseen(); strings.Contains(rest, "runs") {
		t.Error(rest)
	}
	i.compiler("exit 0")
	i.write("x.src", "2")
	web.expect("web runs v1")
	if code, _ := i.settle(); code != 0 {
		t.Errorf("settle: %d", code)
	}
}

// compiler writes the command that the rules have for *.src.
func (i *image) compiler(end string) {
	i.t.Helper()
	beside := filepath.Join(i.root, "tmp", "compile")
	script := "#!/bin/sh\necho compiled *.src\necho once >>" + i.root + "/compiled\n" + end + "\n"
	must(i.t, os.WriteFile(beside, []byte(script), 0o755))
	must(i.t, os.Rename(beside, filepath.Join(i.root, "compile")))
}

func TestSettleReturnsWhenAllIsAppliedAndDoesNothingTwice(t *testing.T) {
	i := newImage(t, usualRules)
	i.compiler("exit 0")
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	for n := range 5 {
		i.write("x.src", fmt.Sprint(n))
		if code, output := i.settle(); code != 0 || strings.Count(output, "compiled x.src") != 1 {
			t.Fatalf("settle: %d, %s", code, output)
		}
		web.expect("web runs v1")
	}
	if code, output := i.settle(); code != 0 || output != "" {
		t.Errorf("settle without a change: %d, %s", code, output)
	}
	compiled, _ := os.ReadFile(filepath.Join(i.root, "compiled"))
	if count := strings.Count(string(compiled), "once"); count != 5 {
		t.Errorf("the command was run %d times", count)
	}
}

func TestSettleLooksAtOnceWhereEventsAreMissing(t *testing.T) {
	i := newImage(t, usualRules)
	i.env = append(i.env, "PACKRUNNER_RELOADER_POLL=1")
	i.compiler("exit 0")
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	for n := range 4 {
		i.write("x.src", fmt.Sprint(n))
		if code, output := i.settle(); code != 0 || !strings.Contains(output, "compiled x.src") {
			t.Errorf("settle: %d, %s", code, output)
		}
	}
}

func TestWithoutASupervisorThereIsNothingToSettle(t *testing.T) {
	if code, output := newImage(t, usualRules).settle(); code != 0 || output != "" {
		t.Errorf("%d, %s", code, output)
	}
}

func TestOneSupervisorFollowsForAllAndAnotherTakesOver(t *testing.T) {
	i := newImage(t, usualRules)
	i.compiler("exit 0")
	i.write("app.txt", "v1")
	first := i.supervise("first")
	first.expect("first runs v1")
	i.following()
	second := i.supervise("second", "--self")
	second.expect("second runs v1")
	i.write("x.src", "1")
	first.expect("restarting first, second")
	first.expect("first runs")
	second.expect("second runs")
	compiled, _ := os.ReadFile(filepath.Join(i.root, "compiled"))
	if string(compiled) != "once\n" {
		t.Errorf("the command was run more than once: %s", compiled)
	}
	i.write("a.code", "second takes it by itself")
	first.expect("a.code changed; restarting first")
	first.expect("first runs")
	first.signal(syscall.SIGKILL)
	first.code()
	i.following()
	i.write("app.txt", "v2")
	second.expect("second runs v2")
}

func TestFilesThatTheApplicationWritesDoNotRestartIt(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "own")
	web := i.supervise("web")
	web.expect("web runs own")
	i.following()
	time.Sleep(200 * time.Millisecond)
	i.write("app.txt", "v2")
	web.expect("restarting web")
	if rest := web.expect("web runs v2"); strings.Contains(rest, "data.txt") {
		t.Error(rest)
	}
	for _, line := range web.lines {
		if strings.Contains(line, "data.txt") {
			t.Error(line)
		}
	}
}

func TestWhatChangesAfterEachRestartIsActedOnLaterButNotLost(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "v0")
	web := i.supervise("web")
	web.expect("web runs v0")
	i.following()
	for n := 1; ; n++ {
		i.write("app.txt", fmt.Sprint("v", n))
		line := web.expect("app.txt change")
		if strings.Contains(line, "app.txt changes after each restart; the next is in 1s") {
			web.expect(fmt.Sprint("web runs v", n))
			return
		}
		web.expect(fmt.Sprint("web runs v", n))
		if n > 100 {
			t.Fatal("it never waits")
		}
	}
}

func TestPolling(t *testing.T) { // LIV-08
	i := newImage(t, usualRules)
	i.env = append(i.env, "PACKRUNNER_RELOADER_POLL=1")
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("looked at every half second: asked for")
	web.expect("web runs v1")
	i.following()
	i.write("app.txt", "v2")
	web.expect("web runs v2")
	i.write("a/b/c", "1")
	web.expect("a/b/c changed")
}

func TestTheApplicationsDirectoryMayGoAndComeBack(t *testing.T) { // LIV-05
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	must(t, os.Rename(i.app, i.app+".old"))
	web.expect("app.txt changed")
	i.write("app.txt", "v2")
	web.expect("app.txt changed")
}

func TestUpMeansThatThePortIsOpen(t *testing.T) {
	port := freePort(t)
	i := newImage(t, usualRules)
	i.env = append(i.env, "PORT="+port)
	i.write("app.txt", "listen 1")
	web := i.supervise("web")
	web.expect("web runs listen 1")
	host := i.start("attach")
	host.expect(`"processes":["web"]`)
	host.ask(map[string]any{"id": 3, "restart": []string{}})
	host.expect(`{"event":"restarting","id":3,"process":"web"}`)
	host.expect(`{"event":"up","id":3,"process":"web","ms":`)
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	must(t, err)
	connection.Close()
	host.expect(`{"event":"done","id":3,"action":"restart","self":[],"restarted":["web"]}`)
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return port
}
