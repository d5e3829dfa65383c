package confined

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) (*Tree, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "app")
	must(t, os.Mkdir(root, 0o755))
	tree, err := Open(root)
	must(t, err)
	t.Cleanup(tree.Close)
	return tree, root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *Tree) write(path, text string) error {
	return t.File(path, 0o644, time.Unix(1e9, 0), int64(len(text)), strings.NewReader(text))
}

// snapshot is a tree in words.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		must(t, err)
		path := strings.TrimPrefix(strings.TrimPrefix(full, root), "/")
		switch {
		case entry.IsDir():
			found[path] = "dir"
		case entry.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(full)
			found[path] = "-> " + target
		default:
			text, _ := os.ReadFile(full)
			found[path] = string(text)
		}
		return nil
	}))
	return found
}

func TestNothingOutsideIsTouchedWhateverLinksThereAre(t *testing.T) { // LIV-13
	tree, root := open(t)
	outside := filepath.Join(filepath.Dir(root), "outside")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.WriteFile(filepath.Join(outside, "kept"), []byte("kept"), 0o644))
	before := snapshot(t, outside)
	for _, target := range []string{outside, "../outside", "/"} {
		must(t, os.Symlink(target, filepath.Join(root, "swapped")))
		must(t, tree.Remove("swapped/kept"))
		must(t, tree.write("swapped/kept", "new"))
		must(t, tree.Directory("swapped/d", 0o755))
		must(t, tree.Link("swapped/l", "/etc/passwd"))
		must(t, tree.write("swapped/l", "a file instead of the link"))
		must(t, tree.Remove("swapped"))
		must(t, os.Symlink(target, filepath.Join(root, "swapped")))
		must(t, tree.Remove("swapped"))
	}
	for path, want := range before {
		if got := snapshot(t, outside)[path]; got != want {
			t.Errorf("%s: %q instead of %q", path, got, want)
		}
	}
	if left := snapshot(t, root); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestADirectoryThatWasSwappedMeanwhileIsNotUsedAgain(t *testing.T) { // LIV-13
	tree, root := open(t)
	outside := t.TempDir()
	must(t, tree.write("d/a", "1"))
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "old")))
	must(t, os.Symlink(outside, filepath.Join(root, "d")))
	must(t, tree.write("d/b", "2"))
	if found := snapshot(t, root); found["d/b"] != "2" || found["old/b"] != "" || len(snapshot(t, outside)) != 1 {
		t.Errorf("%v", found)
	}
}

func TestPathsThatAreNone(t *testing.T) {
	tree, _ := open(t)
	for _, path := range []string{"", "/", "/a", "a/", "a//b", ".", "./a", "..", "../a", "a/../b", "a/..", "a\x00b", strings.Repeat("x", 256)} {
		source := strings.NewReader("12345")
		if err := tree.File(path, 0o644, time.Time{}, 5, source); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", path, err)
		}
		if source.Len() != 0 {
			t.Errorf("%q: bytes left", path)
		}
		if err := tree.Remove(path); !errors.Is(err, ErrPath) {
			t.Errorf("Remove(%q): %v", path, err)
		}
	}
}

func TestAFileOfTooFewBytesIsNotThere(t *testing.T) {
	tree, root := open(t)
	must(t, tree.write("a", "old"))
	if err := tree.File("a", 0o644, time.Time{}, 9, strings.NewReader("new")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if found := snapshot(t, root); found["a"] != "old" || len(found) != 2 {
		t.Errorf("%v", found)
	}
}

func TestModesAndTimes(t *testing.T) {
	tree, root := open(t)
	must(t, tree.File("a", 0o111, time.Unix(1e9, 7), 0, strings.NewReader("")))
	must(t, tree.Directory("d", 0o055))
	must(t, tree.Directory("d", 0o050))
	for path, mode := range map[string]fs.FileMode{"a": 0o711, "d": 0o750 | fs.ModeDir} {
		if found, err := os.Stat(filepath.Join(root, path)); err != nil || found.Mode() != mode {
			t.Errorf("%s: %v, %v", path, found.Mode(), err)
		}
	}
	if found, _ := os.Stat(filepath.Join(root, "a")); found.ModTime().UnixNano() != 1e18+7 {
		t.Error(found.ModTime())
	}
}

// Changes in any order make the tree that a model has (LIV-05).
func TestTheTreeIsWhatAModelSays(t *testing.T) {
	tree, root := open(t)
	model := map[string]string{"": "dir"}
	names := []string{"a", "b", "c"}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 4000 {
		parts := []string{}
		for range 1 + random.IntN(3) {
			parts = append(parts, names[random.IntN(len(names))])
		}
		path := strings.Join(parts, "/")
		kind := random.IntN(4)
		if kind < 3 { // parents are made, in the place of what is there
			for i := 1; i < len(parts); i++ {
				above := strings.Join(parts[:i], "/")
				if model[above] != "dir" {
					drop(model, above)
					model[above] = "dir"
				}
			}
		}
		var err error
		switch kind {
		case 0:
			text := strings.Repeat("x", n%50)
			drop(model, path)
			model[path], err = text, tree.write(path, text)
		case 1:
			target := []string{"..", "/etc", "a", "nowhere"}[random.IntN(4)]
			drop(model, path)
			model[path], err = "-> "+target, tree.Link(path, target)
		case 2:
			if model[path] != "dir" {
				drop(model, path)
			}
			model[path], err = "dir", tree.Directory(path, 0o755)
		case 3:
			drop(model, path)
			err = tree.Remove(path)
		}
		if err != nil {
			t.Fatalf("step %d, %s: %v", n, path, err)
		}
		if n%100 != 0 {
			continue
		}
		found := snapshot(t, root)
		for path, want := range model {
			if got, there := found[path]; !there || got != want {
				t.Fatalf("step %d: %s is %q instead of %q", n, path, got, want)
			}
		}
		if len(found) != len(model) {
			t.Fatalf("step %d: %v instead of %v", n, found, model)
		}
	}
}

func drop(model map[string]string, path string) {
	for each := range model {
		if each == path || strings.HasPrefix(each, path+"/") {
			delete(model, each)
		}
	}
}
