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
	self, arguments := "launcher", []string(nil)
	if len(argv) > 0 { // a program may be started with no arguments at all, not even its name
		self, arguments = argv[0], argv[1:]
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
	chosen, err := selectProcess(found, platform, setting("CNB_EXEC_ENV", defaultExecEnv), self, arguments)
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
	return startShell(self, chosen, layers, app, workdir, env)
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
			if err := addEnvDirectories(env, layer, name); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, layers...)
	}
	// As the reference launcher does it: a layer's general and typed programs, then the next layer's.
	for _, layer := range all {
		programs, err := folders(filepath.Join(layer, "exec.d"), name)
		if err != nil {
			return nil, nil, err
		}
		for _, from := range programs {
			for _, file := range from.files {
				if err := runExecD(filepath.Join(from.path, file), env); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	return all, env, nil
}

func addEnvDirectories(env *environment, layer, name string) error {
	always, err := folders(filepath.Join(layer, "env"), "")
	if err != nil {
		return err
	}
	atLaunch, err := folders(filepath.Join(layer, "env.launch"), name)
	if err != nil {
		return err
	}
	for _, from := range append(always, atLaunch...) {
		if err := env.addFiles(from); err != nil {
			return err
		}
	}
	return nil
}

// layerDirectories lists a buildpack's layers by name; a buildpack without any has no directory in the image.
func layerDirectories(directory string) ([]string, error) {
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	entries, err := readDirectory(absolute)
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, e := range entries {
		if e.mode.IsDir() {
			layers = append(layers, filepath.Join(absolute, e.name))
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
