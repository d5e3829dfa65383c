// Command agent is the first process of a packrunner sandbox.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"packrunner/launcher/internal/agent"
	"packrunner/launcher/internal/frame"
)

const usage = `packrunner agent: PID 1 of a sandbox; packrunner starts it, people need not.
  agent serve [--uid N --gid N [--drop [--prepare]]]               answer frames on stdin and stdout
  agent init  [--uid N --gid N [--drop]] [--cwd DIR] [--lifeline FD] -- PROGRAM..
                                                                   run one program
  agent enter FD                                                   become an ordinary user's bwrap, as the descriptor says
  agent user NAME[:GROUP]                                          the ids and the home that a name has here
  agent copy [--context DIR] [--uid N --gid N] [--mode N] [--unpack] -- TARGET SOURCE..
  agent mkdir [--uid N --gid N] -- DIR                             make a directory and those above it
  agent scan -- DIR [PATH]                                         what is in a tree, for fingerprints
  agent pack -- DIR                                                the paths on stdin as a tar
  agent unpack -- DIR                                              remove the paths on stdin, then unpack the tar after them
  agent exec -- PROGRAM..                                          become a program found in PATH
  agent version
`

const badUsage = 2

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	if len(arguments) == 0 {
		return refuse("a mode is missing")
	}
	mode := arguments[0]
	identity := agent.Identity{UID: -1, GID: -1}
	flags := flag.NewFlagSet(mode, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&identity.UID, "uid", -1, "")
	flags.IntVar(&identity.GID, "gid", -1, "")
	flags.BoolVar(&identity.Drop, "drop", false, "")
	flags.BoolVar(&identity.Prepare, "prepare", false, "")
	cwd := flags.String("cwd", ".", "")
	lifeline := flags.Int("lifeline", -1, "")
	var files agent.Copy
	flags.StringVar(&files.Context, "context", "", "")
	flags.IntVar(&files.Mode, "mode", -1, "")
	flags.BoolVar(&files.Unpack, "unpack", false, "")
	if err := flags.Parse(arguments[1:]); err != nil {
		return refuse(err.Error())
	}
	if mode == "version" {
		fmt.Printf("packrunner agent, protocol %d\n", frame.Protocol)
		return 0
	}
	if code, known := tool(mode, files, identity, flags.Args()); known {
		return code
	}
	if err := agent.NormalizeSignals(); err != nil {
		fmt.Fprintf(os.Stderr, "packrunner agent: cannot clear blocked signals: %v\n", err)
		return 1
	}
	switch {
	case mode == "serve" && flags.NArg() == 0:
		return agent.Serve(identity)
	case mode == "init" && flags.NArg() > 0:
		if *lifeline >= 0 {
			agent.HoldLifeline(*lifeline)
		}
		return agent.Init(identity, *cwd, flags.Args())
	}
	return refuse("unknown mode or arguments")
}

// tool runs the modes in which the agent is a program like any other.
func tool(mode string, files agent.Copy, identity agent.Identity, arguments []string) (code int, known bool) {
	switch {
	case mode == "enter" && len(arguments) == 1:
		descriptor, err := strconv.Atoi(arguments[0])
		if err != nil {
			return refuse(err.Error()), true
		}
		return agent.Enter(descriptor), true
	case mode == "wait":
		return agent.Wait(), true
	case mode == "user" && len(arguments) == 1:
		return agent.User(arguments[0]), true
	case mode == "scan" && len(arguments) >= 1 && len(arguments) <= 2:
		return agent.Scan(arguments[0], arguments[1:]...), true
	case mode == "pack" && len(arguments) == 1:
		return agent.Pack(arguments[0]), true
	case mode == "unpack" && len(arguments) == 1:
		return agent.Unpack(arguments[0]), true
	case mode == "exec" && len(arguments) > 0:
		return agent.Exec(arguments), true
	}
	files.UID, files.GID = max(identity.UID, 0), max(identity.GID, 0)
	switch {
	case mode == "mkdir" && len(arguments) == 1:
		return files.Directory(arguments[0]), true
	case mode == "copy" && len(arguments) > 1:
		files.Target, files.Sources = arguments[0], arguments[1:]
		return files.Run(), true
	}
	return 0, false
}

func refuse(reason string) int {
	fmt.Fprintf(os.Stderr, "packrunner agent: %s\n%s", reason, usage)
	return badUsage
}
