package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	shell      = "/bin/bash"
	appProfile = ".profile"
)

// runScript hands the command, as one script, to a fresh shell: only what profile scripts exported reaches it.
const runScript = `exec bash -c "$1"`

// runTokens evaluates each token as in double quotes, again in a fresh shell. A token that closes the quotes may give
// several words; they are one argument all the same, and what the shell cannot read is an empty one, after its
// complaint. Programs replace the shell, builtins run in it.
const runTokens = `exec bash -c '__packrunner_argv=()
for __packrunner_token in "$0" "$@"; do
  __packrunner_words=" "
  eval "builtin printf -v __packrunner_words \" %s\" \"$__packrunner_token\""
  __packrunner_argv+=("${__packrunner_words:1}")
done
case "$(type -t -- "${__packrunner_argv[0]}")" in
builtin) "${__packrunner_argv[@]}" ;;
*) exec -- "${__packrunner_argv[@]}" ;;
esac' "$@"`

// shellArguments is the argv for /bin/bash that sources the profile scripts and then starts the process (LAU-05,
// LAU-17). `self` becomes $0 of the profile scripts.
func shellArguments(self string, profiles []string, workdir string, chosen selection) []string {
	var script strings.Builder
	for _, profile := range profiles {
		script.WriteString("source " + quoted(profile) + "\n")
	}
	// Only now: a profile script may be what makes the directory. The shell says itself why it cannot enter.
	fmt.Fprintf(&script, "cd -- %s || exit %d\n", quoted(workdir), CodeLaunch)
	if len(chosen.args) == 0 {
		script.WriteString(runScript)
	} else {
		script.WriteString(runTokens)
	}
	return append([]string{"bash", "-c", script.String(), self, chosen.command}, chosen.args...)
}

// quoted is text as one word of a shell script.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// profileScripts lists what shell processes source, in order: the layers' scripts, then the application's own.
func profileScripts(layers []string, name, app string) ([]string, error) {
	var profiles []string
	for _, layer := range layers {
		scripts, err := folders(filepath.Join(layer, "profile.d"), name)
		if err != nil {
			return nil, err
		}
		for _, from := range scripts {
			for _, file := range from.files {
				profiles = append(profiles, filepath.Join(from.path, file))
			}
		}
	}
	own := filepath.Join(app, appProfile)
	info, err := os.Stat(own)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !info.IsDir() {
		profiles = append(profiles, own)
	}
	return profiles, nil
}
