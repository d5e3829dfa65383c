// Package follow acts on changes of the application's files that nobody announces. Of several supervisors in one
// place, one does it for all.
package follow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/apply"
	"packrunner/launcher/internal/rules"
	"packrunner/launcher/internal/supervise"
	"packrunner/launcher/internal/watch"
)

// PollVariable names the variable that makes the supervisor look at intervals, where the kernel tells of no changes.
const PollVariable = "PACKRUNNER_RELOADER_POLL"

const (
	soon     = time.Second           // after a restart: perhaps because of it
	mostKept = 64                    // messages
	quiet    = 50 * time.Millisecond // since the last event
	patience = 2 * time.Second       // since the first
	shown    = 3                     // paths in a message
)

// Follower is the supervisor's part in this. Its state belongs to one goroutine, which takes jobs.
type Follower struct {
	app     string
	rules   *rules.Rules
	applier *apply.Applier
	jobs    chan func()
	ready   chan struct{}
	leads   atomic.Bool

	paused int
	places []place
	own    own
	later  []string            // paths to be acted on later
	last   time.Time           // the end of the last restart
	since  []supervise.Message // commands that were run since somebody asked
	code   int                 // of the last set of changes: of the command that failed
}

// place is one directory with files of the application.
type place struct {
	dest    string // as rules call it; empty for the application's own
	watcher *watch.Watcher
}

// Start begins to follow as soon as no other supervisor does.
func Start(app string, found *rules.Rules, reaper *supervise.Reaper) *Follower {
	f := &Follower{app: app, rules: found, jobs: make(chan func()), ready: make(chan struct{}, 1), own: own{written: map[string]bool{}, repeats: map[string]int{}}}
	f.applier = &apply.Applier{Rules: found, App: app, Reaper: reaper, Show: os.Stderr, Enough: apply.Always, Since: f.look}
	go f.work()
	go func() {
		if lead() {
			f.leads.Store(true)
			f.jobs <- f.begin
		}
	}()
	return f
}

// lead returns when this process is the one that follows; with false, when nobody can be.
func lead() bool {
	path, err := supervise.MeetingPlace()
	if err != nil {
		return false
	}
	// Open until the process ends.
	file, err := unix.Open(filepath.Join(path, "leader"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false
	}
	for {
		err := unix.Flock(file, unix.LOCK_EX)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// Leads reports whether it is this supervisor that follows.
func (f *Follower) Leads() bool {
	return f.leads.Load()
}

func (f *Follower) work() {
	for {
		select {
		case job := <-f.jobs:
			job()
		case <-f.ready:
			f.wait()
			f.consider(f.look())
		}
	}
}

// do has the goroutine do something, and returns when it has.
func (f *Follower) do(job func()) {
	done := make(chan struct{})
	f.jobs <- func() {
		defer close(done)
		job()
	}
	<-done
}

// wait returns when nothing has happened for a moment.
func (f *Follower) wait() {
	end := time.After(patience)
	for {
		select {
		case <-f.ready:
		case <-time.After(quiet):
			return
		case <-end:
			return
		}
	}
}

// begin starts to watch; what is there now is what the processes were started with.
func (f *Follower) begin() {
	if f.paused > 0 {
		return // Resume does it
	}
	for _, dest := range append([]string{""}, f.rules.Places(f.app)...) {
		started := watch.Start(f.directory(dest), polls(), f.ready, f.ignores(dest))
		if started.Why != "" {
			f.say("%s is looked at every half second: %s", f.directory(dest), started.Why)
		}
		f.places = append(f.places, place{dest, started})
	}
}

func polls() bool {
	value := os.Getenv(PollVariable)
	return value != "" && value != "0" && value != "false"
}

func (f *Follower) directory(dest string) string {
	if dest == "" {
		return f.app
	}
	return dest
}

func (f *Follower) ignores(dest string) func(string) bool {
	if dest == "" {
		return f.rules.Ignores
	}
	return func(path string) bool { return f.rules.IgnoresFor(dest, path) }
}

// Pause leaves the tree to somebody else.
func (f *Follower) Pause() {
	f.do(func() {
		f.paused++
		for _, one := range f.places {
			one.watcher.Stop()
		}
	})
}

// Resume takes the tree back. With baseline, what it is now has been seen to.
func (f *Follower) Resume(baseline bool) {
	f.do(func() {
		if f.paused--; f.paused > 0 || !f.Leads() {
			return
		}
		if len(f.places) == 0 {
			f.begin()
			return
		}
		var changed []string
		for _, one := range f.places {
			changed = append(changed, f.meant(one, one.watcher.Resume(polls()))...)
		}
		if !baseline {
			f.act(changed)
		}
	})
}

// Settle looks at all of the tree now, and tells of the commands that were run since the last time. The last message
// has the exit code of a command that failed, until one succeeds.
func (f *Follower) Settle(tell func(supervise.Message)) {
	f.do(func() {
		if f.paused == 0 {
			var changed []string
			for _, one := range f.places {
				changed = append(changed, f.meant(one, one.watcher.LookAtAll())...)
			}
			f.act(f.with(changed))
		}
		for _, message := range f.since {
			tell(message)
		}
		f.since = nil
		tell(supervise.Message{Event: supervise.Settled, Code: f.code})
	})
}

// look returns what has changed and means something.
func (f *Follower) look() []string {
	var changed []string
	if f.paused > 0 {
		return nil
	}
	for _, one := range f.places {
		changed = append(changed, f.meant(one, one.watcher.Look())...)
	}
	return changed
}

// meant are those paths whose rule copies them to this place, and asks for something that can be done here.
func (f *Follower) meant(where place, paths []string) []string {
	var found []string
	for _, path := range paths {
		rule := f.rules.Decide(path)
		if rule == nil || rule.Action == rules.Ignore || rule.Action == rules.Rebuild {
			continue
		}
		if f.directory(rule.Dest) == f.directory(where.dest) {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return f.own.without(f.directory(where.dest), found)
}

// consider acts on changes, or later, when they keep coming after each restart.
func (f *Follower) consider(paths []string) {
	if len(paths) == 0 {
		return
	}
	pause := f.own.pause(paths, time.Since(f.last) < soon)
	if pause == 0 {
		f.act(f.with(paths))
		return
	}
	if len(f.later) == 0 {
		f.say("%s changes after each restart; the next is in %v", summary(paths), pause)
		time.AfterFunc(pause, func() { f.do(func() { f.act(f.with(nil)) }) })
	}
	f.later = f.with(paths)
}

// with adds what was to be acted on later.
func (f *Follower) with(paths []string) []string {
	paths = append(paths, f.later...)
	f.later = nil
	slices.Sort(paths)
	return slices.Compact(paths)
}

// act applies changes, and says why something happens.
func (f *Follower) act(paths []string) {
	if len(paths) == 0 {
		return
	}
	result := f.applier.Apply(paths, func(m supervise.Message) {
		if m.Event != supervise.Exec {
			return
		}
		f.since = append(f.since[max(0, len(f.since)-mostKept):], m)
		if m.Code != 0 {
			f.say("%s: exit code %d; nothing is restarted", strings.Join(m.Command, " "), m.Code)
		}
	}, func(result apply.Result) {
		if len(result.Restarted) > 0 {
			f.say("%s changed; restarting %s", summary(paths), strings.Join(result.Restarted, ", "))
		}
	})
	f.code, f.last = result.Code, time.Now()
}

func summary(paths []string) string {
	text := strings.Join(paths[:min(len(paths), shown)], ", ")
	if more := len(paths) - shown; more > 0 {
		text = fmt.Sprintf("%s and %d more", text, more)
	}
	return text
}

func (f *Follower) say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "reloader: "+format+"\n", values...)
}
