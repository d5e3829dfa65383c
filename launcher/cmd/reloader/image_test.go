package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bare makes the image one that has nothing but the reloader and the application: no shell, no tar, no rm, no /dev.
func (i *image) bare(user uint32) {
	i.t.Helper()
	must(i.t, os.Mkdir(filepath.Join(i.root, "proc"), 0o755))
	if err := unix.Mount("proc", filepath.Join(i.root, "proc"), "proc", 0, ""); err != nil {
		i.t.Skipf("cannot mount proc: %v", err)
	}
	i.t.Cleanup(func() { unix.Unmount(filepath.Join(i.root, "proc"), unix.MNT_DETACH) })
	for _, path := range []string{"app", "tmp"} {
		must(i.t, filepath.Walk(filepath.Join(i.root, path), func(path string, _ os.FileInfo, err error) error {
			must(i.t, err)
			return os.Lchown(path, int(user), int(user))
		}))
	}
	i.env = []string{asProgram + "=1", "CNB_APP_DIR=/app", "TMPDIR=/tmp", "PATH=/layer/bin"}
	i.with = &syscall.SysProcAttr{Chroot: i.root, Credential: &syscall.Credential{Uid: user, Gid: user}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make such an image here")
	}
}

func TestAnOrdinaryUserOfAnImageWithoutAShell(t *testing.T) {
	needRoot(t)
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	i.bare(12345)
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	i.write("app.txt", "v2")
	web.expect("web runs v2")
	host := i.start("attach")
	host.expect(`"app":"/app","processes":["web"]`)
	host.ask(object{"id": 1, "changes": []object{file("app.txt", "v3")}}, "v3")
	host.expect(`{"event":"done","id":1,"action":"restart","self":[],"restarted":["web"]}`)
	web.expect("web runs v3")
	must(t, host.stdin.Close())
	host.code()
	if code := i.start("rm", "-rf", "/app/app.txt").code(); code != 0 {
		t.Errorf("rm: %d", code)
	}
	web.expect("app.txt changed")
}

func TestAChangeUnderAnOverlayIsSeen(t *testing.T) {
	needRoot(t)
	i := newImage(t, usualRules)
	i.write("app.txt", "v1")
	upper := filepath.Join(i.root, "upper")
	must(t, os.Mkdir(upper, 0o755))
	if err := unix.Mount("tmpfs", upper, "tmpfs", 0, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(upper, unix.MNT_DETACH) })
	for _, name := range []string{"new", "work", "lower"} {
		must(t, os.Mkdir(filepath.Join(upper, name), 0o755))
	}
	must(t, os.Rename(filepath.Join(i.app, "app.txt"), filepath.Join(i.root, "tmp", "moved")))
	text, err := os.ReadFile(filepath.Join(i.root, "tmp", "moved"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(upper, "lower/app.txt"), text, 0o644))
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/new,workdir=%[1]s/work", upper)
	if err := unix.Mount("overlay", i.app, "overlay", 0, options); err != nil {
		t.Skipf("cannot mount an overlay: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(i.app, unix.MNT_DETACH) })
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	must(t, os.WriteFile(filepath.Join(i.app, "app.txt"), []byte("v2"), 0o644)) // copied up
	web.expect("web runs v2")
	must(t, os.Remove(filepath.Join(i.app, "app.txt")))
	web.expect("app.txt changed")
}

func TestAChangeOnTheOtherSideOfABindMountIsSeen(t *testing.T) {
	needRoot(t)
	i := newImage(t, usualRules)
	source := filepath.Join(i.root, "source")
	must(t, os.Mkdir(source, 0o755))
	if err := unix.Mount(source, i.app, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(i.app, unix.MNT_DETACH) })
	must(t, os.WriteFile(filepath.Join(source, "app.txt"), []byte("v1"), 0o644))
	web := i.supervise("web")
	web.expect("web runs v1")
	i.following()
	must(t, os.WriteFile(filepath.Join(source, "app.txt"), []byte("v2"), 0o644))
	web.expect("web runs v2")
}
