package tools

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive has members whose content is in Uname until it is written.
func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var made bytes.Buffer
	writer := tar.NewWriter(&made)
	for _, header := range headers {
		text := header.Uname
		header.Uname = ""
		header.Size, header.ModTime = int64(len(text)), time.Unix(1e9, 0)
		if header.Mode == 0 {
			header.Mode = 0o644
		}
		must(t, writer.WriteHeader(&header))
		_, err := io.WriteString(writer, text)
		must(t, err)
	}
	must(t, writer.Close())
	return &made
}

func file(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Uname: text}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

// The ways in which it is called: Tilt, kubectl cp, Skaffold, Compose.
func TestTheCallsOfTools(t *testing.T) {
	for _, call := range []string{
		"-C ROOT -x -f -", "xmf - -C ROOT", "-xmf - -C ROOT", "xmf - -C ROOT --no-same-owner",
		"-x -v -C ROOT -f -", "-C ROOT -xf - --overwrite", "--extract --file=- --directory ROOT",
	} {
		root := t.TempDir()
		must(t, os.WriteFile(filepath.Join(root, "a"), []byte("longer than the new one"), 0o600))
		var output, errors bytes.Buffer
		arguments := strings.Fields(strings.ReplaceAll(call, "ROOT", root))
		input := archive(t, file("a", "new"), file("/d/e/b", "b"), tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a"})
		if code := Tar(arguments, input, &output, &errors); code != 0 || errors.Len() > 0 {
			t.Errorf("%s: %d, %s", call, code, &errors)
		}
		if a, b, h := read(t, filepath.Join(root, "a")), read(t, filepath.Join(root, "l/e/b")), read(t, filepath.Join(root, "h")); a != "new" || b != "b" || h != "new" {
			t.Errorf("%s: %q, %q, %q", call, a, b, h)
		}
		found, err := os.Stat(filepath.Join(root, "a"))
		must(t, err)
		if touched := time.Since(found.ModTime()) < time.Hour; touched != strings.Contains(call, "xm") {
			t.Errorf("%s: time %v", call, found.ModTime())
		}
		if verbose := strings.Contains(call, "-v"); verbose != strings.Contains(output.String(), "d/e/b\n") {
			t.Errorf("%s: %s", call, &output)
		}
	}
}

func TestAMemberThatLeadsOutIsRefusedAndTheRestUnpacked(t *testing.T) {
	root := t.TempDir()
	var errors bytes.Buffer
	code := Tar([]string{"-x", "-C", root}, archive(t, file("../evil", "x"), file("good", "g")), io.Discard, &errors)
	if code != 2 || !strings.Contains(errors.String(), "../evil: member name contains '..'") || read(t, filepath.Join(root, "good")) != "g" {
		t.Errorf("%d, %s", code, &errors)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(root), "evil")); err == nil {
		t.Error("it was written")
	}
}

func TestNoMemberGoesThroughALinkOfTheArchive(t *testing.T) { // LIV-13
	outside := t.TempDir()
	for _, target := range []string{outside, "../../../../../../../../../../" + outside} {
		root := t.TempDir()
		link := tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: target}
		code := Tar([]string{"-x", "-C", root}, archive(t, link, file("l/evil", "x")), io.Discard, io.Discard)
		if found, _ := os.ReadDir(outside); len(found) != 0 {
			t.Errorf("%d, %v", code, found)
		}
	}
}

func TestACutArchiveIsAnError(t *testing.T) {
	root := t.TempDir()
	whole := archive(t, file("a", strings.Repeat("x", 5000))).Bytes()
	for _, cut := range []int{100, 600, 4000} {
		if code := Tar([]string{"-x", "-C", root}, bytes.NewReader(whole[:cut]), io.Discard, io.Discard); code != 2 {
			t.Errorf("cut at %d: %d", cut, code)
		}
	}
	if found, _ := os.ReadDir(root); len(found) != 0 {
		t.Errorf("%v", found)
	}
}

func TestWhatIsPackedIsWhatTheRealOneUnpacks(t *testing.T) {
	real, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar here")
	}
	source, target := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(source, "d/e"), 0o755))
	must(t, os.WriteFile(filepath.Join(source, "d/e/f"), []byte(strings.Repeat("y", 100_000)), 0o640))
	must(t, os.Symlink("e/f", filepath.Join(source, "d/l")))
	var made, errors bytes.Buffer
	if code := Tar([]string{"cf", "-", "-C", source, "d"}, nil, &made, &errors); code != 0 || errors.Len() > 0 {
		t.Fatalf("%d, %s", code, &errors)
	}
	command := exec.Command(real, "xf", "-", "-C", target)
	command.Stdin = &made
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if read(t, filepath.Join(target, "d/l")) != strings.Repeat("y", 100_000) {
		t.Error("another content")
	}
	errors.Reset()
	if code := Tar([]string{"cf", "-", filepath.Join(source, "none")}, nil, io.Discard, &errors); code != 2 || !strings.Contains(errors.String(), "none: no such file") {
		t.Errorf("%d, %s", code, &errors)
	}
}

func TestArgumentsThatNobodyKnows(t *testing.T) {
	for _, call := range []string{"", "-x -q", "--frobnicate", "-C", "-cf -", "xf"} {
		if code := Tar(strings.Fields(call), strings.NewReader(""), io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: %d", call, code)
		}
	}
	if code := Rm([]string{"-q"}, io.Discard, io.Discard); code != 1 {
		t.Errorf("rm: %d", code)
	}
}

func TestRm(t *testing.T) {
	root := t.TempDir()
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600))
	for _, one := range []struct {
		arguments string
		code      int
		said      string
	}{
		{"-rf d l none", 0, ""}, {"-f f", 0, ""}, {"d", 1, "cannot remove 'd': Is a directory"}, {"none", 1, "no such file"},
		{"-r -- d f", 0, ""}, {"-rf /", 1, "refusing"}, {"-rf . d/..", 1, "refusing"}, {"", 1, "missing operand"}, {"-f", 0, ""},
	} {
		t.Chdir(root)
		os.MkdirAll("d/e", 0o755)
		os.WriteFile("f", nil, 0o600)
		os.WriteFile("d/e/g", nil, 0o600)
		os.Symlink(outside, "l")
		var errors bytes.Buffer
		if code := Rm(strings.Fields(one.arguments), io.Discard, &errors); code != one.code || !strings.Contains(errors.String(), one.said) {
			t.Errorf("rm %s: %d, %s", one.arguments, code, &errors)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error("a link was followed")
	}
}

// Whatever is unpacked stays where it is unpacked.
func FuzzTar(f *testing.F) {
	for _, name := range []string{"a", "../a", "/a/../../b", "a/b/../../../c"} {
		var made bytes.Buffer
		writer := tar.NewWriter(&made)
		writer.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1, Mode: 0o644})
		writer.Write([]byte("x"))
		writer.Close()
		f.Add(made.Bytes())
	}
	for _, target := range []string{"..", "/tmp", "a"} {
		var made bytes.Buffer
		writer := tar.NewWriter(&made)
		writer.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: target})
		writer.WriteHeader(&tar.Header{Name: "a/b", Typeflag: tar.TypeLink, Linkname: "a"})
		writer.Close()
		f.Add(made.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		root := filepath.Join(parent, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		Tar([]string{"-x", "-C", root, "--no-same-owner"}, bytes.NewReader(data), io.Discard, io.Discard)
		if found, _ := os.ReadDir(parent); len(found) != 1 {
			t.Errorf("outside: %v", found)
		}
	})
}
