package agent

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"packrunner/launcher/internal/frame"
)

// A command with input reads what the host sends, all of it, to its end.
func TestInputReachesTheCommand(t *testing.T) {
	h := greeted(t)
	h.start(1, map[string]any{"argv": []string{"/bin/sh", "-c", "wc -c; echo done"}, "stdin": true})
	chunk := bytes.Repeat([]byte("x"), frame.MaxChunk)
	writer := frame.NewWriter(h.in)
	for range 200 {
		if err := writer.Send(frame.Input, 1, chunk); err != nil {
			t.Fatal(err)
		}
	}
	writer.Send(frame.Input, 1, nil)
	stdout, _, reply := h.finish(1)
	if reply.Code != 0 || strings.TrimSpace(stdout) != "13107200\ndone" {
		t.Fatalf("%q, %+v", stdout, reply)
	}
}

// Input that nobody reads, or that comes too late, stops nothing.
func TestInputThatNobodyWants(t *testing.T) {
	h := greeted(t)
	h.start(1, map[string]any{"argv": []string{"/bin/true"}, "stdin": true})
	writer := frame.NewWriter(h.in)
	for range 300 {
		writer.Send(frame.Input, 1, make([]byte, frame.MaxChunk))
	}
	if _, _, reply := h.finish(1); reply.Code != 0 {
		t.Fatalf("%+v", reply)
	}
	writer.Send(frame.Input, 9, []byte("nobody's"))
	h.run(2, "/bin/cat")
	if stdout, _, reply := h.finish(2); stdout != "" || reply.Code != 0 {
		t.Fatalf("a command without input read %q, %+v", stdout, reply)
	}
}

// with gives a tool its stdin and returns its stdout.
func with(t *testing.T, input []byte, tool func() int) (string, int) {
	t.Helper()
	stdin, stdout := os.Stdin, os.Stdout
	defer func() { os.Stdin, os.Stdout = stdin, stdout }()
	in, err := os.CreateTemp(t.TempDir(), "in")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	in.Write(input)
	in.Seek(0, io.SeekStart)
	os.Stdin, os.Stdout = in, out
	code := tool()
	said, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(said), code
}

func fill(t *testing.T, root string) {
	t.Helper()
	for _, directory := range []string{"a", "a/b", "closed"} {
		if err := os.Mkdir(filepath.Join(root, directory), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(root, "a/b/file"), []byte("content"), 0o640)
	os.WriteFile(filepath.Join(root, "closed/inner"), []byte("inner"), 0o644)
	os.Symlink("/etc/passwd", filepath.Join(root, "a/link"))
	os.WriteFile(filepath.Join(root, "a\nb"), nil, 0o755)
	os.Chmod(filepath.Join(root, "closed"), 0o500)
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "closed"), 0o700) })
}

func fields(table string) map[string]string {
	found := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		parts := strings.SplitN(line, " ", 6)
		found[parts[5]] = strings.Join(parts[:2], " ")
	}
	return found
}

// The table is that of packrunner/fingerprint.py: a directory before what is in it, names in the order of their bytes.
func TestScan(t *testing.T) {
	root := t.TempDir()
	os.Chmod(root, 0o755)
	fill(t, root)
	table, code := with(t, nil, func() int { return Scan(root) })
	var paths []string
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		paths = append(paths, strings.SplitN(line, " ", 6)[5])
	}
	if want := "|a|a/b|a/b/file|a/link|a\x00b|closed|closed/inner"; code != 0 || strings.Join(paths, "|") != want {
		t.Fatalf("%d, %q", code, paths)
	}
	if !strings.HasPrefix(table, "packrunner-tree 1 8 ") {
		t.Errorf("heading of %q", table)
	}
	found := fields(table)
	for path, want := range map[string]string{"a/b/file": "100640 7", "a/link": "120777 11", "closed": "40500 0", "": "40755 0"} {
		if found[path] != want {
			t.Errorf("%q: %q", path, found[path])
		}
	}
	below, _ := with(t, nil, func() int { return Scan(root, "a/b") })
	if got := fields(below); len(got) != 2 || got["a/b/file"] == "" {
		t.Errorf("below a/b: %v", got)
	}
	if gone, code := with(t, nil, func() int { return Scan(root, "no/such") }); code != 0 || !strings.HasPrefix(gone, "packrunner-tree 1 0 0") {
		t.Errorf("what is not there: %d, %q", code, gone)
	}
}

// After the table is written a change leaves another ctime, whatever the kernel's clock: else it could go unseen.
func TestScanIsSettled(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "file")
	for range 20 {
		os.WriteFile(path, []byte("one"), 0o644)
		before, _ := with(t, nil, func() int { return Scan(root) })
		os.WriteFile(path, []byte("two"), 0o644)
		if after, _ := with(t, nil, func() int { return Scan(root) }); before == after {
			t.Fatal("a change of the same size went unseen")
		}
	}
}

func TestPackAndUnpack(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	fill(t, source)
	when := time.Unix(1_000_000_000, 123_000_000)
	os.Chtimes(filepath.Join(source, "a/b/file"), when, when)
	syscall.Mkfifo(filepath.Join(source, "pipe"), 0o644)
	list := "a\x00a/b\x00a/b/file\x00a/link\x00a\nb\x00closed\x00closed/inner\x00pipe\x00"
	archive, code := with(t, []byte(list), func() int { return Pack(source) })
	if code != 0 {
		t.Fatal(code)
	}
	// In the way: a file where a directory comes, a directory where a file comes, a link to elsewhere.
	outside := t.TempDir()
	os.WriteFile(filepath.Join(target, "closed"), nil, 0o644)
	os.MkdirAll(filepath.Join(target, "a\nb", "deep"), 0o755)
	os.Symlink(outside, filepath.Join(target, "a"))
	os.MkdirAll(filepath.Join(target, "gone", "deep"), 0o755)
	os.WriteFile(filepath.Join(target, "gone", "deep", "file"), nil, 0o644)
	os.Chmod(filepath.Join(target, "gone", "deep"), 0o500)
	removed := "gone\x00not/there\x00"
	input := binary.BigEndian.AppendUint32(nil, uint32(len(removed)))
	input = append(append(input, removed...), archive...)
	table, code := with(t, input, func() int { return Unpack(target) })
	if code != 0 {
		t.Fatal(code, table)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(target, "closed"), 0o700) })
	found := fields(table)
	if len(found) != 7 || found["a/b/file"] != "100640 7" || found["closed"] != "40500 0" {
		t.Errorf("%v", found)
	}
	if _, err := os.Lstat(filepath.Join(target, "gone")); !os.IsNotExist(err) {
		t.Error("what is gone is still there")
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Error("something was written through a link")
	}
	if info, _ := os.Stat(filepath.Join(target, "a/b/file")); !info.ModTime().Equal(when) {
		t.Errorf("its time is %v", info.ModTime())
	}
	whole, _ := with(t, nil, func() int { return Scan(target) })
	source2, _ := with(t, nil, func() int { return Scan(source) })
	mine, theirs := fields(whole), fields(source2)
	delete(theirs, "pipe")
	delete(mine, "")
	delete(theirs, "")
	for path := range theirs {
		if mine[path] != theirs[path] {
			t.Errorf("%q: %q and %q", path, mine[path], theirs[path])
		}
	}
	if len(mine) != len(theirs) {
		t.Errorf("%v and %v", mine, theirs)
	}
}

func TestUnpackOfAnArchiveThatIsCut(t *testing.T) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	writer.WriteHeader(&tar.Header{Name: "file", Size: 1000, Mode: 0o644, Typeflag: tar.TypeReg})
	writer.Write(make([]byte, 1000))
	writer.Close()
	for _, length := range []int{0, 3, 4, 300, 700, 1400} {
		input := append(make([]byte, 4), archive.Bytes()...)[:length]
		if _, code := with(t, input, func() int { return Unpack(t.TempDir()) }); length != 4 && code == 0 {
			t.Errorf("%d bytes were enough", length)
		}
	}
}

// What root sets out before it becomes the build user is for that user to read and not to change.
func TestPrepared(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	root := t.TempDir()
	for above := root; above != "/"; above = filepath.Dir(above) {
		if info, err := os.Stat(above); err == nil && info.Mode().Perm()&0o011 != 0o011 {
			os.Chmod(above, info.Mode().Perm()|0o011)
		}
	}
	own, kept, marked := filepath.Join(root, "own"), filepath.Join(root, "kept"), filepath.Join(root, "marked")
	for _, path := range []string{own, kept, marked} {
		os.Mkdir(path, 0o755)
	}
	prepare := func(archive func(lacking []string) []byte) {
		h := open(t, "prepare")
		h.send(frame.Prepare, 0, frame.PrepareRequest{Own: map[string]int64{own: 0o750}, Marked: map[string]string{marked: "v1"}})
		answer := h.receive()
		var lacking frame.LackingReply
		if err := json.Unmarshal([]byte(answer.payload), &lacking); err != nil || answer.kind != frame.Lacking {
			t.Fatalf("%+v: %v", answer, err)
		}
		writer := frame.NewWriter(h.in)
		writer.Send(frame.Input, 0, archive(lacking.Places))
		writer.Send(frame.Input, 0, nil)
		if hello := h.receive(); hello.payload != `{"protocol":2,"uid":1000,"gid":1000}` {
			t.Fatalf("%+v", hello)
		}
		for script, want := range map[string]int{
			"cat " + kept + "/bin/tool " + marked + "/file && echo x > " + own + "/mine": 0,
			"echo x > " + kept + "/bin/tool":                                             2,
			"chmod 777 " + kept + "/bin":                                                 1,
			"rm -r " + marked + "/file":                                                  1,
		} {
			if _, stderr, reply := h.sh(script); reply.Code != want {
				t.Errorf("%s: %+v %s", script, reply, stderr)
			}
		}
	}
	archived := func(entries map[string]int64) []byte {
		var archive bytes.Buffer
		writer := tar.NewWriter(&archive)
		for _, name := range []string{kept + "/bin/", kept + "/bin/tool", marked + "/file"} {
			mode, wanted := entries[name]
			if !wanted {
				continue
			}
			header := &tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeReg, Uid: 1000, Gid: 1000}
			if strings.HasSuffix(name, "/") {
				header.Typeflag = tar.TypeDir
			}
			writer.WriteHeader(header)
		}
		writer.Close()
		return archive.Bytes()
	}
	prepare(func(lacking []string) []byte {
		if len(lacking) != 1 || lacking[0] != marked {
			t.Errorf("lacking %v", lacking)
		}
		return archived(map[string]int64{kept + "/bin/": 0o700, kept + "/bin/tool": 0o777, marked + "/file": 0o666})
	})
	prepare(func(lacking []string) []byte {
		if len(lacking) != 0 {
			t.Errorf("lacking %v", lacking)
		}
		return archived(map[string]int64{kept + "/bin/": 0o700, kept + "/bin/tool": 0o700})
	})
	if info, _ := os.Stat(own); info.Mode().Perm() != 0o750 || info.Sys().(*syscall.Stat_t).Uid != 1000 {
		t.Errorf("%v", info.Mode())
	}
}

func TestPrepareRefusesPathsThatAreNotPlain(t *testing.T) {
	for _, name := range []string{"relative", "/a/../etc/passwd", "/a//b", "", "/a/."} {
		if path, err := absolute(name); err == nil {
			t.Errorf("%q is %q", name, path)
		}
	}
	if path, err := absolute("/a/b/"); err != nil || path != "/a/b" {
		t.Errorf("%q, %v", path, err)
	}
}
