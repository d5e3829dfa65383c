package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type object = map[string]any

func file(path, content string) object {
	return object{"path": path, "kind": "file", "mode": 0o640, "size": len(content), "mtime_ns": int64(1e18)}
}

// attach starts a supervised application and a host that is attached.
func (i *image) attach(options ...string) (web, host *running) {
	i.t.Helper()
	i.write("app.txt", "v1")
	web = i.supervise("web", options...)
	web.expect("web runs v1")
	i.following()
	host = i.start("attach")
	host.expect(fmt.Sprintf(`{"event":"hello","version":1,"app":%q,"processes":["web"]}`, i.app))
	return web, host
}

func TestTheHostBringsFilesAndIsToldWhatBecomesOfThem(t *testing.T) {
	i := newImage(t, usualRules)
	web, host := i.attach()
	host.ask(object{"id": 7, "changes": []object{file("app.txt", "v2"), file("d/page.tpl", "hi")}}, "v2", "hi")
	host.expect(`{"event":"copied","id":7,"failed":[]}`)
	host.expect(`{"event":"restarting","id":7,"process":"web"}`)
	host.expect(`{"event":"up","id":7,"process":"web","ms":`)
	host.expect(`{"event":"done","id":7,"action":"restart","self":[],"restarted":["web"]}`)
	web.expect("web runs v2")
	found, err := os.Stat(filepath.Join(i.app, "d/page.tpl"))
	must(t, err)
	if found.Mode() != 0o640 || found.ModTime().UnixNano() != 1e18 {
		t.Errorf("%v", found)
	}
	host.ask(object{"id": 8, "changes": []object{file("page.tpl", "ho")}}, "ho")
	host.expect(`{"event":"done","id":8,"action":"sync","self":[],"restarted":[]}`)
	if rest := web.unseen(); rest != "" {
		t.Error(rest)
	}
}

func TestAProcessThatTakesFilesByItselfIsNamed(t *testing.T) {
	i := newImage(t, usualRules)
	_, host := i.attach("--self")
	host.ask(object{"id": 1, "changes": []object{file("a.code", "x")}}, "x")
	host.expect(`{"event":"done","id":1,"action":"reload","self":["web"],"restarted":[]}`)
	host.ask(object{"id": 2, "changes": []object{file("a.other", "x")}}, "x")
	host.expect(`{"event":"done","id":2,"action":"restart","self":[],"restarted":["web"]}`)
}

func TestCommandsRunOnceAndTheirFailureRestartsNothing(t *testing.T) {
	i := newImage(t, usualRules)
	i.compiler("exit 0")
	web, host := i.attach()
	host.ask(object{"id": 1, "changes": []object{file("x.src", "1"), file("y.src", "2")}}, "1", "2")
	host.expect(`"code":0,"output":"compiled x.src y.src\n"`)
	host.expect(`{"event":"done","id":1,"action":"restart","self":[],"restarted":["web"]}`)
	web.expect("web runs v1")
	i.compiler("exit 5")
	host.ask(object{"id": 2, "changes": []object{file("x.src", "3")}}, "3")
	host.expect(`"code":5,`)
	host.expect(`{"event":"done","id":2,"action":"restart","self":[],"restarted":[]}`)
	if rest := web.unseen(); rest != "" {
		t.Error(rest)
	}
}

func TestACrashIsToldAndTheNextChangeStartsItAgain(t *testing.T) {
	i := newImage(t, usualRules)
	web, host := i.attach()
	host.ask(object{"id": 1, "changes": []object{file("app.txt", "fail")}}, "fail")
	host.expect(`{"event":"crash","process":"web","code":3,"signal":0}`)
	if line := web.expect("web ended with exit code 3"); !strings.HasSuffix(line, "waiting for a change") {
		t.Error(line)
	}
	host.ask(object{"id": 2, "changes": []object{file("page.tpl", "would not restart what runs")}}, "would not restart what runs")
	host.expect(`{"event":"restarting","id":2,"process":"web"}`)
	host.expect(`"id":2,"action":"sync","self":[],"restarted":["web"]}`)
	host.ask(object{"id": 3, "changes": []object{file("app.txt", "v3")}}, "v3")
	host.expect(`{"event":"up","id":3,"process":"web","ms":`)
	web.expect("web runs v3")
}

func TestWhileAHostIsAttachedNobodyElseFollows(t *testing.T) {
	i := newImage(t, usualRules)
	web, host := i.attach()
	i.write("app.txt", "v2")
	host.ask(object{"id": 1, "changes": []object{file("page.tpl", "x")}}, "x")
	host.expect(`"action":"sync"`)
	if rest := web.unseen(); rest != "" {
		t.Error(rest)
	}
	// What was there when the host left in peace has been seen to.
	must(t, host.stdin.Close())
	if code := host.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if code, output := i.settle(); code != 0 || output != "" || web.unseen() != "" {
		t.Errorf("%d, %s, %s", code, output, web.unseen())
	}
	i.write("app.txt", "v3")
	web.expect("web runs v3")
}

func TestWhatAHostLeavesUndoneIsNotLost(t *testing.T) {
	i := newImage(t, usualRules)
	web, host := i.attach()
	i.write("app.txt", "v2")
	host.signal(syscall.SIGKILL)
	host.code()
	web.expect("web runs v2")
}

func TestASupervisorThatComesLaterIsHeldToo(t *testing.T) {
	i := newImage(t, usualRules)
	_, host := i.attach()
	i.write("app.txt", "fail late")
	i.supervise("late").expect("ended with exit code 3")
	// Either it was held before it failed, or it tries again.
	host.expect(`{"event":"crash","process":"late","code":3,"signal":0}`)
}

func TestOnlyNamedProcessesRestart(t *testing.T) {
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	web, worker := i.supervise("web"), i.supervise("worker")
	web.expect("runs v1")
	worker.expect("runs v1")
	i.following()
	host := i.start("attach")
	host.expect(`"processes":["web","worker"]`)
	host.ask(object{"id": 4, "restart": []string{"worker"}})
	host.expect(`{"event":"done","id":4,"action":"restart","self":[],"restarted":["worker"]}`)
	worker.expect("runs v1")
	if rest := web.unseen(); rest != "" {
		t.Error(rest)
	}
}

func TestAFileThatIsCutShortIsNotWritten(t *testing.T) { // SIGKILL of the host, a broken connection
	i := newImage(t, usualRules)
	web, host := i.attach()
	host.ask(object{"id": 1, "changes": []object{file("app.txt", "v2345")}}, "v2")
	must(t, host.stdin.Close())
	host.expect("unexpected EOF")
	if code := host.code(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if code, _ := i.settle(); code != 0 || web.unseen() != "" {
		t.Errorf("%d, %s", code, web.unseen())
	}
	if text, _ := os.ReadFile(filepath.Join(i.app, "app.txt")); string(text) != "v1" {
		t.Errorf("%s", text)
	}
	if left, _ := filepath.Glob(filepath.Join(i.app, ".packrunner-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestPathsAndPlacesThatAreNoneAreNamed(t *testing.T) {
	place := t.TempDir()
	i := newImage(t, fmt.Sprintf(`{"version":1,"rules":[{"src":["public/**"],"action":"sync","dest":%q},{"src":["**"],"action":"sync"}]}`, place))
	_, host := i.attach()
	host.ask(object{"id": 1, "changes": []object{file("../evil", "e"), file("/etc/evil", "e"), file("a//b", "e"), file("good", "g")}}, "e", "e", "e", "g")
	why := "not a path below the application"
	host.expect(fmt.Sprintf(`{"event":"copied","id":1,"failed":[{"path":"../evil","why":%q},{"path":"/etc/evil","why":%q},{"path":"a//b","why":%q}]}`, why, why, why))
	host.ask(object{"id": 2, "changes": []object{file("x", "1")}, "dest": "/etc"}, "1")
	host.expect(`{"event":"copied","id":2,"failed":[{"path":"x","why":"no rule copies to /etc"}]}`)
	host.ask(object{"id": 3, "changes": []object{file("public/a", "1")}, "dest": place}, "1")
	host.expect(`{"event":"copied","id":3,"failed":[]}`)
	if text, _ := os.ReadFile(filepath.Join(place, "public/a")); string(text) != "1" {
		t.Errorf("%s", text)
	}
	host.ask(object{"id": 4, "something": "else"})
	host.expect(`{"event":"error","id":4,"why":"a request of an unknown kind"}`)
}

func TestTheManifestTellsWhatIsThere(t *testing.T) {
	i := newImage(t, usualRules)
	_, host := i.attach()
	for n := range 1500 {
		i.write(fmt.Sprintf("many/%04d", n), "x")
	}
	i.write("ignored/x", "1")
	must(t, os.Symlink("app.txt", filepath.Join(i.app, "link")))
	host.ask(object{"id": 9, "manifest": true})
	found := map[string]string{}
	for over := false; !over; {
		var part struct {
			Files []struct{ Path, Kind, SHA256, Target string }
			End   bool
		}
		must(t, json.Unmarshal([]byte(host.expect(`{"event":"manifest","id":9,`)), &part))
		if len(part.Files) > 1000 {
			t.Errorf("%d files in one event", len(part.Files))
		}
		for _, each := range part.Files {
			found[each.Path] = each.Kind + " " + each.SHA256 + each.Target
		}
		over = part.End
	}
	digest := sha256.Sum256([]byte("v1"))
	for path, want := range map[string]string{
		"app.txt": "file " + hex.EncodeToString(digest[:]), "link": "link app.txt", "many": "dir ", "ignored": "", "ignored/x": "",
	} {
		if found[path] != want {
			t.Errorf("%s: %q instead of %q", path, found[path], want)
		}
	}
	if len(found) != 1503 {
		t.Errorf("%d entries", len(found))
	}
}
