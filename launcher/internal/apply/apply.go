// Package apply does what the rules say about files that have changed: their commands, then restarts.
package apply

import (
	"io"
	"slices"
	"sync"
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
}

// Result is what was done.
type Result struct {
	Action    string   `json:"action"`
	Self      []string `json:"self"`      // processes that take the files by themselves
	Restarted []string `json:"restarted"` // processes that were started again
	Code      int      `json:"-"`         // of the command that failed, so that nothing was restarted
}

// Apply does what the changes at paths ask for, and tells what happens meanwhile.
func (a *Applier) Apply(paths []string, tell func(supervise.Message)) Result {
	action, commands := a.decide(paths)
	result := Result{Action: action, Self: []string{}, Restarted: []string{}}
	if action == "" {
		return result
	}
	for _, command := range commands {
		began := time.Now()
		code, output := a.Reaper.Command(command, a.App, a.Show)
		tell(supervise.Message{Event: supervise.Exec, Command: command, Code: code, Output: string(output), MS: time.Since(began).Milliseconds()})
		if code != 0 {
			result.Code = code
			return result
		}
	}
	var restart []supervise.Peer
	for _, peer := range supervise.Peers() {
		switch {
		case action == rules.Restart, action == rules.Reload && !peer.Self, !peer.Running:
			restart = append(restart, peer)
			result.Restarted = append(result.Restarted, peer.Process)
		case action == rules.Reload:
			result.Self = append(result.Self, peer.Process)
		}
	}
	Restart(restart, tell)
	return result
}

// decide is the strongest action of all, and each command once, in the order of the rules.
func (a *Applier) decide(paths []string) (action string, commands [][]string) {
	hit := map[*rules.Rule]bool{}
	for _, path := range paths {
		hit[a.Rules.Decide(path)] = true
	}
	for i := range a.Rules.Rules {
		rule := &a.Rules.Rules[i]
		strength := slices.Index(strengths, rule.Action)
		if !hit[rule] || strength < 0 {
			continue
		}
		if strength > slices.Index(strengths, action) {
			action = rule.Action
		}
		known := func(command []string) bool { return slices.Equal(command, rule.Exec) }
		if len(rule.Exec) > 0 && !slices.ContainsFunc(commands, known) {
			commands = append(commands, rule.Exec)
		}
	}
	return action, commands
}

// Restart restarts processes, all at once, and returns when each is up or has ended.
func Restart(peers []supervise.Peer, tell func(supervise.Message)) {
	var waiting sync.WaitGroup
	for _, peer := range peers {
		waiting.Go(func() {
			if err := peer.Restart(tell); err != nil {
				tell(supervise.Message{Event: supervise.Crash, Process: peer.Process, Why: err.Error()})
			}
		})
	}
	waiting.Wait()
}
