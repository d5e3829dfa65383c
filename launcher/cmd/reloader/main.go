// Command reloader lets the application in a development image take changed files while it runs.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"packrunner/launcher/internal/attach"
	"packrunner/launcher/internal/follow"
	"packrunner/launcher/internal/rules"
	"packrunner/launcher/internal/supervise"
	"packrunner/launcher/internal/tools"
)

const usage = `packrunner reloader: for images that were built for development.
  reloader run [--name NAME] [--self] -- PROGRAM..   run a program, and start it again when its files change;
                                                     --self: it takes most changes by itself
  reloader settle                                    apply what has changed so far, and say how that went
  reloader attach                                    take changed files from packrunner dev
  reloader tar, reloader rm                          what tools need that bring files by tar and rm
`

const (
	badUsage     = 2
	defaultGrace = 3 * time.Second
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	if len(arguments) == 0 {
		return refuse("a mode is missing")
	}
	mode, arguments := arguments[0], arguments[1:]
	switch {
	case mode == "run":
		return supervised(arguments)
	case mode == "tar":
		return tools.Tar(arguments, os.Stdin, os.Stdout, os.Stderr)
	case mode == "rm":
		return tools.Rm(arguments, os.Stdout, os.Stderr)
	case mode == "settle" && len(arguments) == 0:
		return settle()
	case mode == "attach" && len(arguments) == 0:
		found, err := rules.Load()
		if err != nil {
			return complain(err)
		}
		return attach.Run(application(found), found, os.Stdin, os.Stdout)
	}
	return refuse("unknown mode or arguments")
}

func supervised(arguments []string) int {
	var settings supervise.Settings
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&settings.Name, "name", "app", "")
	flags.BoolVar(&settings.Self, "self", false, "")
	if err := flags.Parse(arguments); err != nil {
		return refuse(err.Error())
	}
	if flags.NArg() == 0 {
		return refuse("a program to run is missing")
	}
	settings.Argv = flags.Args()
	found, err := rules.Load()
	if err != nil {
		return complain(err)
	}
	settings.Follow = func(reaper *supervise.Reaper) supervise.Follower {
		return follow.Start(application(found), found, reaper)
	}
	settings.Grace = grace()
	return supervise.Run(settings)
}

// application is the directory of the application.
func application(found *rules.Rules) string {
	for _, directory := range []string{os.Getenv("CNB_APP_DIR"), found.Workspace} {
		if directory != "" {
			return directory
		}
	}
	directory, err := os.Getwd()
	if err != nil {
		return "/workspace"
	}
	return directory
}

func grace() time.Duration {
	seconds, err := strconv.ParseFloat(os.Getenv(supervise.GraceVariable), 64)
	if err != nil || seconds < 0 || seconds > 3600 {
		return defaultGrace
	}
	return time.Duration(seconds * float64(time.Second))
}

func complain(err error) int {
	fmt.Fprintf(os.Stderr, "reloader: %v\n", err)
	return 1
}

func refuse(reason string) int {
	fmt.Fprintf(os.Stderr, "packrunner reloader: %s\n%s", reason, usage)
	return badUsage
}
