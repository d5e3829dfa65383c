// Command launcher starts the processes of an image that packrunner has built. It is the target of every link in
// /cnb/process and takes no options of its own: all arguments belong to the process.
//
// It lives for a millisecond and on one thread. To ask the control group how many threads it may have, and to name its
// memory for debuggers, would only delay the process:
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0
package main

import (
	"errors"
	"fmt"
	"os"

	"packrunner/launcher/internal/launch"
)

func main() {
	err := launch.Launch(os.Args)
	fmt.Fprintf(os.Stderr, "packrunner launcher: %v\n", err)
	var failure *launch.Failure
	if errors.As(err, &failure) {
		os.Exit(failure.Code)
	}
	os.Exit(launch.CodeLaunch)
}
