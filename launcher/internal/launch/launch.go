package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"packrunner/launcher/internal/explain"
)

const (
	defaultLayers  = "/layers"
	defaultApp     = "/workspace"
	defaultExecEnv = "production"
)

// Launch replaces this process by the one that argv asks for. It returns only when that fails, always with a *Failure
// or an error that counts as CodeLaunch.
func Launch(argv []string) error {
	platform, err := platformVersion(os.Getenv("CNB_PLATFORM_API"))
	if err != nil {
		return err
	}
	layersDir, app := setting("CNB_LAYERS_DIR", defaultLayers), setting("CNB_APP_DIR", defaultApp)
	found, err := readMetadata(filepath.Join(layersDir, "config", "metadata.toml"))
	if err != nil {
		return err
	}
	for i, author := range found.Buildpacks {
		if found.Buildpacks[i].version, err = buildpackVersion(author.ID, author.API); err != nil {
			return err
		}
	}
	if unwanted := os.Getenv("CNB_PROCESS_TYPE"); unwanted != "" {
		fmt.Fprintf(os.Stderr, "packrunner launcher: CNB_PROCESS_TYPE is not used any more: set the entrypoint to %s instead\n", unwanted)
	}
	chosen, err := selectProcess(found, platform, setting("CNB_EXEC_ENV", defaultExecEnv), argv[0], argv[1:])
	if err != nil {
		return err
	}
	if err := os.Chdir(app); err != nil {
		return fail(CodeLaunch, "cannot enter the application directory %s: %v: is CNB_APP_DIR right?", app, errors.Unwrap(err))
	}
	if app, err = os.Getwd(); err != nil {
		return err
	}
	layers, env, err := prepare(layersDir, found.Buildpacks, chosen.name)
	if err != nil {
		return err
	}
	workdir := chosen.workdir
	if !filepath.IsAbs(workdir) {
		workdir = filepath.Join(app, workdir)
	}
	if chosen.direct {
		return startDirect(chosen, workdir, env)
	}
	return startShell(argv[0], chosen, layers, app, workdir, env)
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// prepare builds the environment: per buildpack the root directories of all its layers, then the env directories of
// each; then the exec.d programs (LAU-12 to LAU-14). It returns the layers too, in that order.
func prepare(layersDir string, buildpacks []buildpack, name string) ([]string, *environment, error) {
	env := processEnvironment(os.Environ())
	var all []string
	for _, author := range buildpacks {
		layers, err := layerDirectories(filepath.Join(layersDir, author.directory()))
		if err != nil {
			return nil, nil, err
		}
		for _, layer := range layers {
			env.addRoot(layer)
		}
		for _, layer := range layers {
			directories := append([]string{filepath.Join(layer, "env")}, perType(filepath.Join(layer, "env.launch"), name)...)
			for _, directory := range directories {
				if err := env.addDirectory(directory); err != nil {
					return nil, nil, err
				}
			}
		}
		all = append(all, layers...)
	}
	// As the reference launcher does it: a layer's general and typed programs, then the next layer's.
	for _, layer := range all {
		for _, directory := range perType(filepath.Join(layer, "exec.d"), name) {
			if err := runDirectory(directory, env); err != nil {
				return nil, nil, err
			}
		}
	}
	return all, env, nil
}

func runDirectory(directory string, env *environment) error {
	files, err := regularFiles(directory)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := runExecD(filepath.Join(directory, file), env); err != nil {
			return err
		}
	}
	return nil
}

// perType is a directory and, when a process type is selected, its subdirectory for that type.
func perType(directory, name string) []string {
	if name == "" {
		return []string{directory}
	}
	return []string{directory, filepath.Join(directory, name)}
}

// layerDirectories lists a buildpack's layers by name; a buildpack without any has no directory in the image.
func layerDirectories(directory string) ([]string, error) {
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, entry := range entries {
		if entry.IsDir() {
			layers = append(layers, filepath.Join(absolute, entry.Name()))
		}
	}
	return layers, nil
}

func startDirect(chosen selection, workdir string, env *environment) error {
	if err := enter(workdir); err != nil {
		return err
	}
	path, err := lookUp(chosen.command, env.get("PATH"))
	if err != nil {
		return err
	}
	err = syscall.Exec(path, append([]string{chosen.command}, chosen.args...), env.pairs())
	text, _ := explain.Start(path, err)
	return fail(CodeLaunch, "%s", text)
}

func startShell(self string, chosen selection, layers []string, app, workdir string, env *environment) error {
	profiles, err := profileScripts(layers, chosen.name, app)
	if err != nil {
		return err
	}
	// The shell enters the working directory after the profile scripts; here it is only found out that it can.
	for _, directory := range [...]string{workdir, app} {
		if err := enter(directory); err != nil {
			return err
		}
	}
	err = syscall.Exec(shell, shellArguments(self, profiles, workdir, chosen), env.pairs())
	if errors.Is(err, fs.ErrNotExist) {
		return fail(CodeLaunch, "%q is started through %s, which this image does not have: use a run image with bash, or start a program directly with -- PROGRAM ARGS", chosen.command, shell)
	}
	text, _ := explain.Start(shell, err)
	return fail(CodeLaunch, "%s", text)
}

func enter(workdir string) error {
	if err := os.Chdir(workdir); err != nil {
		return fail(CodeLaunch, "cannot enter the working directory %s: %v", workdir, errors.Unwrap(err))
	}
	return nil
}

// lookUp finds a program in the PATH of the process, as a shell would (LAU-04).
func lookUp(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // starting it gives the reason
	}
	hint := ""
	for directory := range strings.SplitSeq(path, pathSeparator) {
		candidate := filepath.Join(directory, name)
		if directory == "" {
			candidate = "./" + name
		}
		info, err := os.Stat(candidate)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
		if _, linkErr := os.Lstat(candidate); hint == "" && linkErr == nil {
			cause := err
			if cause == nil {
				cause = syscall.EACCES
			}
			text, _ := explain.Start(candidate, cause)
			hint = "; " + text
		}
	}
	return "", fail(CodeLaunch, "%q is not in PATH (%s)%s", name, path, hint)
}
