package attach

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"packrunner/launcher/internal/confined"
)

// What a host sends, whatever it is, is read to its end or refused, and never reaches anything outside of the tree.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(`{"id":1,"changes":[{"path":"a/b","kind":"file","mode":420,"size":2,"mtime_ns":1}]}` + "\nhi"))
	f.Add([]byte(`{"id":2,"changes":[{"path":"a","kind":"link","target":".."},{"path":"a/outside","kind":"gone"}]}` + "\n"))
	f.Add([]byte(`{"id":3,"changes":[{"path":"../outside","kind":"file","size":-1}]}` + "\n"))
	f.Add([]byte(`{"id":4,"changes":[{"path":"a","kind":"file","size":9000000000000000000}]}` + "\nx"))
	f.Add([]byte(`{"id":5,"restart":["web"]}` + "\n" + `{"id":6,"manifest":true}` + "\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		root := filepath.Join(parent, "app")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(parent, "outside"), []byte("kept"), 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := confined.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		input := bufio.NewReader(bytes.NewReader(data))
		for {
			asked, err := readRequest(input)
			if err != nil {
				break
			}
			for _, one := range asked.Changes {
				if _, lost := one.make(tree, input); lost != nil {
					return
				}
			}
		}
		if kept, _ := os.ReadFile(filepath.Join(parent, "outside")); string(kept) != "kept" {
			t.Errorf("outside: %q", kept)
		}
		if found, _ := os.ReadDir(parent); len(found) != 2 {
			t.Errorf("outside: %v", found)
		}
	})
}

func TestARequestWithoutEndIsRefused(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"id":1,"dest":"`), repeated('x'))
	if _, err := readRequest(bufio.NewReaderSize(endless, 1<<20)); err != errTooLong {
		t.Error(err)
	}
}

type repeated byte

func (r repeated) Read(data []byte) (int, error) {
	for i := range data {
		data[i] = byte(r)
	}
	return len(data), nil
}

func TestUnknownKeysAreIgnored(t *testing.T) {
	read, err := readRequest(bufio.NewReader(strings.NewReader(`{"id":1,"new":{"a":[1]},"restart":[]}` + "\n")))
	if err != nil || read.Restart == nil || len(*read.Restart) != 0 || read.Changes != nil {
		t.Errorf("%+v, %v", read, err)
	}
	if text, _ := json.Marshal(copied{Event: "copied", Failed: []failure{}}); !strings.Contains(string(text), `"failed":[]`) {
		t.Errorf("%s", text)
	}
}
