package launch

import (
	"path/filepath"
	"slices"
)

const anyExecEnv = "*"

// selection is the process to start and how.
type selection struct {
	name    string // the selected type; empty for a command that the user gave
	command string
	args    []string
	direct  bool
	workdir string // relative to the application, or absolute
}

// selectProcess decides what argv[0] and the arguments mean.
func selectProcess(found metadata, platform version, execEnv, self string, arguments []string) (selection, error) {
	name := filepath.Base(self)
	known := func(p process) bool { return p.Type == name }
	if !slices.ContainsFunc(found.Processes, known) {
		return userCommand(found, arguments)
	}
	fits := func(p process) bool { return known(p) && p.eligible(platform, execEnv) }
	index := slices.IndexFunc(found.Processes, fits)
	if index < 0 {
		return selection{}, fail(CodeLaunch, "no process of type %s is meant for the execution environment %q: set CNB_EXEC_ENV to another, or build for this one", name, execEnv)
	}
	return found.Processes[index].with(arguments, found.Buildpacks, platform)
}

// eligible applies exec-env (LAU-08).
func (p process) eligible(platform version, execEnv string) bool {
	if platform.less(platformHasExecEnv) || len(p.ExecEnv) == 0 {
		return true
	}
	return slices.Contains(p.ExecEnv, execEnv) || slices.Contains(p.ExecEnv, anyExecEnv)
}

// with adds the user's arguments to a buildpack's process (LAU-06, LAU-07).
func (p process) with(arguments []string, buildpacks []buildpack, platform version) (selection, error) {
	if len(p.command) == 0 || p.command[0] == "" {
		return selection{}, fail(CodeLaunch, "process %s has no command: the buildpack %s must give it one", p.Type, p.BuildpackID)
	}
	defaults, known := p.hasDefaultArgs(buildpacks, platform)
	if !known && len(arguments) > 0 {
		return selection{}, fail(CodeLaunch, "process %s comes from the unknown buildpack %q: rebuild the image", p.Type, p.BuildpackID)
	}
	args := p.Args
	switch {
	case len(arguments) == 0:
	case defaults:
		args = arguments
	default:
		args = slices.Concat(args, arguments)
	}
	return selection{
		name: p.Type, command: p.command[0], args: slices.Concat(p.command[1:], args),
		direct: p.Direct || defaults, workdir: p.WorkingDir,
	}, nil
}

// hasDefaultArgs reports whether the buildpack's args are defaults that the user's replace; such a process is direct.
// known is false when metadata.toml does not list the buildpack, so that nothing tells.
func (p process) hasDefaultArgs(buildpacks []buildpack, platform version) (defaults, known bool) {
	if platform.less(platformReplacesArgs) {
		return false, true
	}
	if len(p.command) > 1 {
		return true, true // only newer buildpacks can say so
	}
	for _, author := range buildpacks {
		if author.ID == p.BuildpackID {
			return !author.version.less(buildpackDirectOnly), true
		}
	}
	return false, false
}

// userCommand is a command given instead of a process type (LAU-03 to LAU-05).
func userCommand(found metadata, arguments []string) (selection, error) {
	switch {
	case len(arguments) == 0, len(arguments) == 1 && arguments[0] == "--":
		return selection{}, fail(CodeLaunch, "nothing to start: give a command after --, or use one of the entrypoints %s", entrypoints(found))
	case arguments[0] == "--":
		return selection{command: arguments[1], args: arguments[2:], direct: true}, nil
	}
	return selection{command: arguments[0], args: arguments[1:]}, nil
}

func entrypoints(found metadata) string {
	text := ""
	for _, p := range found.Processes {
		if text != "" {
			text += ", "
		}
		text += p.Type
	}
	if text == "" {
		return "(the image has no processes)"
	}
	return text
}
