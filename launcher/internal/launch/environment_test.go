package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLAU_13_BLD_22_BLD_23_BLD_24_EnvFileActions(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		old   string // "-" is unset
		want  string
	}{
		"no suffix replaces":             {map[string]string{"V": "new"}, "old", "new"},
		"override replaces":              {map[string]string{"V.override": "new"}, "old", "new"},
		"append glues":                   {map[string]string{"V.append": "b"}, "a", "ab"},
		"append with delimiter":          {map[string]string{"V.append": "b", "V.delim": ":"}, "a", "a:b"},
		"append to nothing":              {map[string]string{"V.append": "b", "V.delim": ":"}, "-", "b"},
		"append to empty":                {map[string]string{"V.append": "b", "V.delim": ":"}, "", "b"},
		"append nothing":                 {map[string]string{"V.append": "", "V.delim": ":"}, "a", "a:"},
		"prepend":                        {map[string]string{"V.prepend": "b"}, "a", "ba"},
		"prepend with delimiter":         {map[string]string{"V.prepend": "b", "V.delim": "::"}, "a", "b::a"},
		"prepend to empty":               {map[string]string{"V.prepend": "b", "V.delim": ":"}, "", "b"},
		"default when unset":             {map[string]string{"V.default": "d"}, "-", "d"},
		"default when empty":             {map[string]string{"V.default": "d"}, "", "d"},
		"default when set":               {map[string]string{"V.default": "d"}, "a", "a"},
		"delimiter of another":           {map[string]string{"V.append": "b", "W.delim": ":"}, "a", "ab"},
		"delimiter is no variable":       {map[string]string{"V.delim": ":"}, "a", "a"},
		"unknown action":                 {map[string]string{"V.bar": "b"}, "a", "a"},
		"action with more":               {map[string]string{"V.append.x": "b"}, "a", "a"},
		"a dot and no action":            {map[string]string{"V.": "b"}, "a", "b"},
		"bytes stay":                     {map[string]string{"V": "$HOME `x` \xff\n\n"}, "a", "$HOME `x` \xff\n\n"},
		"file names decide the order":    {map[string]string{"V.append": "1", "V.default": "2", "V.override": "3", "V.prepend": "4"}, "-", "43"},
		"no suffix comes before append":  {map[string]string{"V": "1", "V.append": "2"}, "old", "12"},
		"a path variable is not special": {map[string]string{"V.prepend": "/new"}, "/old", "/new/old"},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			for file, content := range test.files {
				if err := os.WriteFile(filepath.Join(directory, file), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			env := processEnvironment(nil)
			if test.old != "-" {
				env.set("V", test.old)
			}
			if err := addAll(env, directory); err != nil {
				t.Fatal(err)
			}
			if got := env.get("V"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSBX_02_EnvDirectoryFollowsLinksToFilesOnly(t *testing.T) {
	directory := t.TempDir()
	target := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(target, []byte("linked"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Symlink(target, filepath.Join(directory, "LINK"))
	os.Symlink(filepath.Dir(target), filepath.Join(directory, "DIR"))
	env := processEnvironment(nil)
	if err := addAll(env, directory); err != nil {
		t.Fatal(err)
	}
	if pairs := strings.Join(env.pairs(), " "); pairs != "LINK=linked" {
		t.Fatalf("got %q", pairs)
	}
}

// addAll applies one env directory.
func addAll(env *environment, directory string) error {
	found, err := folders(directory, "")
	if err != nil {
		return err
	}
	for _, from := range found {
		if err := env.addFiles(from); err != nil {
			return err
		}
	}
	return nil
}
