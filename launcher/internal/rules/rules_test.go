package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table that packrunner/dev/patterns.py is tested with too.
func TestMatchesAsTheHostDoes(t *testing.T) {
	text, err := os.ReadFile("../../../tests/patterns.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Matches [][3]any `json:"matches"`
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	for _, one := range table.Matches {
		pattern, path, want := one[0].(string), one[1].(string), one[2].(bool)
		if got := Matches(pattern, path); got != want {
			t.Errorf("Matches(%q, %q) is %v", pattern, path, got)
		}
	}
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	all := Rules{Rules: []Rule{
		{Src: []string{"**/__pycache__/**"}, Action: Ignore},
		{Src: []string{"setup.py"}, Action: Rebuild},
		{Src: []string{"**/*.py"}, Action: Reload},
	}}
	for path, want := range map[string]string{
		"a/__pycache__/x.py": Ignore, "setup.py": Rebuild, "a/setup.py": Reload, "README": "",
	} {
		got := ""
		if rule := all.Decide(path); rule != nil {
			got = rule.Action
		}
		if got != want {
			t.Errorf("%s: %q instead of %q", path, got, want)
		}
	}
}

func TestADirectoryIsLeftAloneOnlyWhereNothingInItCanMatter(t *testing.T) {
	cases := []struct {
		rules     string
		directory string
		want      bool
	}{
		{"ignore node_modules/**", "node_modules", true},
		{"ignore node_modules/**", "node_modules/a", true},
		{"ignore node_modules/**", "a/node_modules", false},
		{"ignore **/node_modules/**", "a/node_modules/b", true},
		{"sync **/*.py, ignore venv/**", "venv", false},
		{"sync src/**, ignore venv/**", "venv", true},
		{"sync venv/keep/*, ignore venv/**", "venv", false},
		{"sync venv/keep/*, ignore venv/**", "venv/other", true},
		{"ignore venv/*.py", "venv", false},
		{"ignore **", "a", true},
		{"ignore venv/**, sync **", "src", false},
	}
	for _, one := range cases {
		var all Rules
		for text := range strings.SplitSeq(one.rules, ", ") {
			action, pattern, _ := strings.Cut(text, " ")
			all.Rules = append(all.Rules, Rule{Src: []string{pattern}, Action: action})
		}
		if got := all.Ignores(one.directory); got != one.want {
			t.Errorf("%s: Ignores(%q) is %v", one.rules, one.directory, got)
		}
	}
}

func TestRulesOfAnotherVersionAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	os.WriteFile(path, []byte(`{"version":2,"rules":[]}`), 0o600)
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("got %v", err)
	}
	if found, err := Read(path + ".none"); err != nil || len(found.Rules) != 0 {
		t.Errorf("without a file: %v, %v", found, err)
	}
}

func FuzzMatches(f *testing.F) {
	f.Add("**/*.py", "a/b.py")
	f.Add("a*b?/**/x", "a/é/\xff")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(pattern) > 64 || len(path) > 64 {
			return
		}
		if got, want := Matches(pattern, path), slowly(strings.Split(pattern, "/"), strings.Split(path, "/")); got != want {
			t.Errorf("Matches(%q, %q) is %v", pattern, path, got)
		}
	})
}

// slowly is the definition, without regard for time.
func slowly(parts, names []string) bool {
	if len(parts) == 0 {
		return len(names) == 0
	}
	if parts[0] == anyNames {
		return slowly(parts[1:], names) || len(names) > 0 && slowly(parts, names[1:])
	}
	return len(names) > 0 && slowlyName(characters(parts[0]), characters(names[0])) && slowly(parts[1:], names[1:])
}

func slowlyName(parts, name []string) bool {
	if len(parts) == 0 {
		return len(name) == 0
	}
	if parts[0] == "*" {
		return slowlyName(parts[1:], name) || len(name) > 0 && slowlyName(parts, name[1:])
	}
	return len(name) > 0 && (parts[0] == "?" || parts[0] == name[0]) && slowlyName(parts[1:], name[1:])
}
