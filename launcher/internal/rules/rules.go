package rules

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What is done about a changed file.
const (
	Sync    = "sync"
	Reload  = "reload"
	Restart = "restart"
	Rebuild = "rebuild"
	Ignore  = "ignore"
)

// File is the name of the rules beside the program's own bin directory.
const File = "rules.json"

const (
	version = 1
	limit   = 16 << 20
)

// Rule says what is done with files whose path, relative to the application, matches one of Src.
type Rule struct {
	Src       []string `json:"src"`
	Action    string   `json:"action"`
	Exec      []string `json:"exec"`
	Dest      string   `json:"dest"`
	Buildpack string   `json:"buildpack"`
}

// Rules are all rules of an image; the first that matches counts.
type Rules struct {
	Version   int    `json:"version"`
	Workspace string `json:"workspace"`
	Rules     []Rule `json:"rules"`
}

// Load reads the rules that came with this program. Without a file there are none.
func Load() (*Rules, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Read(filepath.Join(filepath.Dir(filepath.Dir(self)), File))
}

// Read reads rules from a file; there are none where it does not exist.
func Read(path string) (*Rules, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return &Rules{Version: version}, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found Rules
	if err := json.NewDecoder(io.LimitReader(file, limit)).Decode(&found); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if found.Version != version {
		return nil, fmt.Errorf("%s has rules of version %d, this program reads %d", path, found.Version, version)
	}
	return &found, nil
}

// Decide is the first rule that means path; nil where none does.
func (r *Rules) Decide(path string) *Rule {
	for i := range r.Rules {
		if r.Rules[i].matches(path) {
			return &r.Rules[i]
		}
	}
	return nil
}

func (r *Rule) matches(path string) bool {
	return slices.ContainsFunc(r.Src, func(pattern string) bool { return Matches(pattern, path) })
}

// Ignores reports whether nothing in the directory can mean anything but to be ignored.
func (r *Rules) Ignores(directory string) bool {
	for i := range r.Rules {
		rule := &r.Rules[i]
		for _, pattern := range rule.Src {
			above, whole := strings.CutSuffix(pattern, "/"+anyNames)
			if rule.Action == Ignore && (pattern == anyNames || whole && covers(above, directory)) {
				return true
			}
		}
		for _, pattern := range rule.Src {
			if rule.Action != Ignore && mayMatchBelow(pattern, directory) {
				return false
			}
		}
	}
	return false
}

// IgnoresFor is Ignores for a directory that rules copy into.
func (r *Rules) IgnoresFor(dest, directory string) bool {
	for i := range r.Rules {
		rule := &r.Rules[i]
		if filepath.Clean(rule.Dest) == dest && slices.ContainsFunc(rule.Src, func(p string) bool { return mayMatchBelow(p, directory) }) {
			return r.Ignores(directory)
		}
	}
	return true
}

// covers reports whether pattern means the directory or one above it.
func covers(pattern, directory string) bool {
	for {
		if Matches(pattern, directory) {
			return true
		}
		cut := strings.LastIndexByte(directory, '/')
		if cut < 0 {
			return false
		}
		directory = directory[:cut]
	}
}

// Places are the directories that rules copy into, beside the application's own.
func (r *Rules) Places(app string) []string {
	var places []string
	for _, rule := range r.Rules {
		dest := filepath.Clean(rule.Dest)
		if rule.Dest != "" && dest != app && !slices.Contains(places, dest) {
			places = append(places, dest)
		}
	}
	return places
}
