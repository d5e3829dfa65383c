package main

import (
	"fmt"
	"os"
	"strings"

	"packrunner/launcher/internal/supervise"
)

// settle returns when the supervisors have applied what has changed so far.
func settle() int {
	code, err := supervise.Settle(func(m supervise.Message) {
		if m.Event == supervise.Exec {
			fmt.Printf("%s\n%s", strings.Join(m.Command, " "), m.Output)
		}
	})
	if err != nil {
		return complain(err)
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "reloader: a command failed with exit code %d; nothing was restarted\n", code)
	}
	return code
}
