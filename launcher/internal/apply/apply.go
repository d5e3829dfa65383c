// Package apply does what the rules say about files that have changed: their commands, then restarts.
package apply

import (
	"io"
	"slices"
	"time"

	"packrunner/launcher/internal/rules"
	"packrunner/launcher/internal/supervise"
)

// strengths are the actions that are done here, the weakest first.
var strengths = []string{rules.Sync, rules.Reload, rules.Restart}

// Applier applies changes, one set at a time.
type Applier struct {
	Rules  *rules.Rules
	App    string
	Reaper *supervise.Reaper
	Show   io.Writer // for the output of commands
	// Enough is closed when there is something better to do than to wait until processes are up.
	Enough func() <-chan struct{}
	// Since returns what has changed since it was called last; nil where nobody looks.
	Since func() []string
}

const ended = "ended"

// mostRuns is how often a command is run because files changed meanwhile: it may make some of them itself.
const mostRuns = 3

// Result is what was done.
type Result struct {
	Action    string   `json:"action"`
	Self      []string `json:"self"`      // processes that take the files by themselves
	Restarted []string `json:"restarted"` // processes that were started again
	Code      int      `json:"-"`         // of the command that failed, so that nothing was restarted
}

// Apply does what the changes at paths ask for, and tells what happens meanwhile; before restarts, what is decided.
func (a *Applier) Apply(paths []string, tell func(supervise.Message), decided func(Result)) Result {
	action, commands := a.decide(paths)
	result := Result{Action: action, Self: []string{}, Restarted: []string{}}
	if action == "" {
		return result
	}
	for run := 1; len(commands) > 0; run++ {
		for _, command := range commands {
			if result.Code = a.command(command, tell); result.Code != 0 {
				return result
			}
		}
		// What changed meanwhile is served by the same restart, unless it is for a command.
		commands = nil
		if a.Since != nil && run < mostRuns {
			var more string
			more, commands = a.decide(a.Since())
			result.Action = stronger(result.Action, more)
		}
	}
	var restart []supervise.Peer
	for _, peer := range supervise.Peers() {
		switch {
		case result.Action == rules.Restart, result.Action == rules.Reload && !peer.Self, !peer.Running:
			restart = append(restart, peer)
			result.Restarted = append(result.Restarted, peer.Process)
		case result.Action == rules.Reload:
			result.Self = append(result.Self, peer.Process)
		}
	}
	decided(result)
	a.Restart(restart, tell)
	return result
}

func (a *Applier) command(argv []string, tell func(supervise.Message)) int {
	began := time.Now()
	code, output := a.Reaper.Command(argv, a.App, a.Show)
	tell(supervise.Message{
		Event: supervise.Exec, Command: argv, Code: code, Output: string(output), MS: time.Since(began).Milliseconds(),
	})
	return code
}

func stronger(one, other string) string {
	if slices.Index(strengths, other) > slices.Index(strengths, one) {
		return other
	}
	return one
}

// decide is the strongest action of all, and each command once, in the order of the rules.
func (a *Applier) decide(paths []string) (action string, commands [][]string) {
	hit := map[*rules.Rule]bool{}
	for _, path := range paths {
		hit[a.Rules.Decide(path)] = true
	}
	for i := range a.Rules.Rules {
		rule := &a.Rules.Rules[i]
		if !hit[rule] || !slices.Contains(strengths, rule.Action) {
			continue
		}
		action = stronger(action, rule.Action)
		known := func(command []string) bool { return slices.Equal(command, rule.Exec) }
		if len(rule.Exec) > 0 && !slices.ContainsFunc(commands, known) {
			commands = append(commands, rule.Exec)
		}
	}
	return action, commands
}

// Restart restarts processes, all at once, and returns when each is up or has ended, or is started and Enough says so.
// Nothing is told after that.
func (a *Applier) Restart(peers []supervise.Peer, tell func(supervise.Message)) {
	messages := make(chan supervise.Message)
	over := make(chan struct{})
	defer close(over)
	for _, peer := range peers {
		go func() {
			send := func(m supervise.Message) {
				select {
				case messages <- m:
				case <-over:
				}
			}
			if err := peer.Restart(send); err != nil {
				send(supervise.Message{Event: supervise.Failed, Process: peer.Process, Why: err.Error()})
			}
			send(supervise.Message{Event: ended})
		}()
	}
	starting, waiting := len(peers), len(peers)
	for waiting > 0 {
		var enough <-chan struct{}
		if starting == 0 {
			enough = a.Enough()
		}
		select {
		case m := <-messages:
			switch m.Event {
			case ended:
				waiting--
			case supervise.Started:
				starting--
			default:
				tell(m)
			}
		case <-enough:
			return
		}
	}
}

// Never is for who waits until all is up, Always for who does not.
func Never() <-chan struct{} { return nil }

// Always is the opposite of Never.
func Always() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}
