// Command agent is the first process of a packrunner sandbox.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"packrunner/launcher/internal/agent"
	"packrunner/launcher/internal/frame"
)

const usage = `packrunner agent: PID 1 of a sandbox; packrunner starts it, people need not.
  agent serve [--uid N --gid N [--drop]]                           answer frames on stdin and stdout
  agent init  [--uid N --gid N [--drop]] [--cwd DIR] [--lifeline FD] -- PROGRAM..
                                                                   run one program
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
	cwd := flags.String("cwd", ".", "")
	lifeline := flags.Int("lifeline", -1, "")
	if err := flags.Parse(arguments[1:]); err != nil {
		return refuse(err.Error())
	}
	if mode == "version" {
		fmt.Printf("packrunner agent, protocol %d\n", frame.Protocol)
		return 0
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

func refuse(reason string) int {
	fmt.Fprintf(os.Stderr, "packrunner agent: %s\n%s", reason, usage)
	return badUsage
}
