// Package supervise keeps a process of the image running while its files change.
package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	codeNotFound   = 127
	codeNotStarted = 126
	// A process that ends by itself is started again, each time later than before, unless somebody holds the supervisor.
	firstPause = time.Second
	lastPause  = time.Minute
	lastGrace  = time.Second // for those of a group that outlive its leader
)

// GraceVariable names the variable that says how many seconds a process has between SIGTERM and SIGKILL.
const GraceVariable = "PACKRUNNER_RELOADER_GRACE"

// forwarded are passed on to the process; after one of ending, the supervisor ends as the process does.
var (
	ending    = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP}
	forwarded = append([]os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP}, ending...)
)

// Settings say what is supervised and how.
type Settings struct {
	Name  string
	Self  bool // the program takes changed files by itself
	Argv  []string
	Grace time.Duration
	// Follow begins to follow the tree, with commands run by the reaper, and returns at once.
	Follow func(reaper *Reaper) Follower
}

// Supervisor is the loop around one process. Everything but its channels belongs to the goroutine of Run.
type Supervisor struct {
	settings Settings
	reaper   *Reaper
	requests chan request
	holds    holders

	child   *child
	running atomic.Bool           // the same for others
	shown   atomic.Pointer[child] // the latest that was up
	started time.Time
	ended   os.Signal // the signal by which the supervisor was told to end
	pause   time.Duration
	retry   <-chan time.Time
	up      upness
}

// request is a restart; answers is closed when no more of them come.
type request struct {
	answers chan<- Message
}

// Run starts the process and returns the exit code when it was told to end.
func Run(settings Settings) int {
	// The process is told of its parent's end by the kernel, which means the thread that started it.
	runtime.LockOSThread()
	// Orphans fall to the supervisor, also where it is not the first process.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	s := &Supervisor{settings: settings, reaper: NewReaper(), requests: make(chan request), up: upness{port: ownPort()}}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer s.open()()
	s.start(nil)
	for {
		if code, over := s.once(signals); over {
			return code
		}
	}
}

// open makes the supervisor reachable for others; without that, it only runs the process.
func (s *Supervisor) open() (shut func()) {
	place, err := MeetingPlace()
	if err == nil {
		var listener net.Listener
		if listener, err = listen(place, s.settings.Name); err == nil {
			server := server{settings: s.settings, requests: s.requests, holds: &s.holds, running: &s.running, isUp: s.isUp}
			server.follower = s.settings.Follow(s.reaper)
			go server.serve(listener)
			return func() { listener.Close() }
		}
	}
	s.say("changes of files have no effect: %v", err)
	return func() {}
}

// once waits for one thing to happen and sees to it.
func (s *Supervisor) once(signals <-chan os.Signal) (code int, over bool) {
	var gone <-chan struct{}
	if s.child != nil {
		gone = s.child.ended
	}
	select {
	case received := <-signals:
		return s.pass(received)
	case <-gone:
		return s.gone()
	case asked := <-s.requests:
		s.restart(asked.answers, signals)
		if s.ended != nil && s.child == nil {
			return 128 + int(s.ended.(syscall.Signal)), true
		}
	case <-s.retry:
		s.retry = nil
		s.start(nil)
	}
	return 0, false
}

// pass gives a signal to the process; where none runs, the supervisor ends as a process would.
func (s *Supervisor) pass(received os.Signal) (code int, over bool) {
	number := received.(syscall.Signal)
	for _, one := range ending {
		if one == received {
			s.ended = received
		}
	}
	if s.child == nil {
		return 128 + int(number), s.ended != nil
	}
	s.child.signal(number)
	return 0, false
}

// gone sees to a process that ended without being asked to, or because the supervisor was.
func (s *Supervisor) gone() (code int, over bool) {
	ended := s.child
	code, number := ended.result()
	lived := time.Since(s.started)
	s.sweep(ended)
	s.child = nil
	s.running.Store(false)
	if s.ended != nil {
		return code, true
	}
	s.holds.tell(Message{Event: Crash, Process: s.settings.Name, Code: code, Signal: number})
	close(ended.seen)
	s.wait(how(code, number), code == 0, lived)
	return 0, false
}

// wait says how the process ended, and what is waited for.
func (s *Supervisor) wait(how string, clean bool, lived time.Duration) {
	if lived > lastPause {
		s.pause = 0
	}
	if clean || s.holds.any() {
		s.say("%s %s; waiting for a change", s.settings.Name, how)
		return
	}
	s.pause = min(max(2*s.pause, firstPause), lastPause)
	s.retry = time.After(s.pause)
	s.say("%s %s; waiting for a change, or %v", s.settings.Name, how, s.pause)
}

func how(code, number int) string {
	if number != 0 {
		return fmt.Sprintf("was ended by signal %d", number)
	}
	return fmt.Sprintf("ended with exit code %d", code)
}

func (s *Supervisor) say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "reloader: "+format+"\n", values...)
}

// restart ends the process, if it runs, and starts it.
func (s *Supervisor) restart(answers chan<- Message, signals <-chan os.Signal) {
	answers <- Message{Event: Restarting, Process: s.settings.Name}
	s.retry, s.pause = nil, 0
	if s.child != nil {
		s.stop(signals)
		if s.ended != nil {
			close(answers)
			return
		}
	}
	s.start(answers)
}

// stop ends the process: SIGTERM, after the grace SIGKILL. Signals meanwhile are passed on.
func (s *Supervisor) stop(signals <-chan os.Signal) {
	s.child.signal(syscall.SIGTERM)
	s.child.signal(syscall.SIGCONT) // a stopped process would not notice
	grace := time.After(s.settings.Grace)
	for {
		select {
		case <-s.child.ended:
			s.sweep(s.child)
			close(s.child.seen)
			s.child = nil
			s.running.Store(false)
			return
		case <-grace:
			s.say("%s does not end by SIGTERM; killed after %v", s.settings.Name, s.settings.Grace)
			s.child.signal(syscall.SIGKILL)
		case received := <-signals:
			s.pass(received)
		}
	}
}

// sweep ends what is left of the group of a process that has ended: it may hold the port.
func (s *Supervisor) sweep(ended *child) {
	for deadline := time.Now().Add(lastGrace); !ended.gone() && time.Now().Before(deadline); time.Sleep(lookEvery) {
		ended.signal(syscall.SIGTERM)
	}
	ended.signal(syscall.SIGKILL)
}

// start starts the process. answers, unless nil, gets to know when it is up, and is closed.
func (s *Supervisor) start(answers chan<- Message) {
	busy := listening(s.up.port)
	s.started = time.Now()
	started, err := s.launch()
	if err != nil {
		s.failed(err, answers)
		return
	}
	s.child = started
	s.running.Store(true)
	if answers != nil {
		answers <- Message{Event: Started, Process: s.settings.Name}
	}
	go func() {
		took, isUp := s.up.wait(started, busy)
		up := Message{Event: Up, Process: s.settings.Name, MS: took.Milliseconds()}
		if isUp {
			s.shown.Store(started)
		}
		if isUp && answers == nil {
			s.holds.tell(up) // nobody asked: at first, or after a pause
		}
		if answers == nil {
			return
		}
		if isUp {
			answers <- up
		}
		close(answers)
	}()
}

// isUp reports whether the process was up and has not ended, for others.
func (s *Supervisor) isUp() bool {
	shown := s.shown.Load()
	if shown == nil {
		return false
	}
	select {
	case <-shown.ended:
		return false
	default:
		return true
	}
}

func (s *Supervisor) launch() (*child, error) {
	program, err := exec.LookPath(s.settings.Argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return nil, err
	}
	return s.reaper.start(program, s.settings.Argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
}

func (s *Supervisor) failed(err error, answers chan<- Message) {
	code := codeNotStarted
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		code = codeNotFound
	}
	s.say("cannot start %s: %v", strings.Join(s.settings.Argv, " "), err)
	crash := Message{Event: Crash, Process: s.settings.Name, Code: code}
	s.holds.tell(crash)
	s.wait(how(code, 0), false, 0)
	if answers != nil {
		close(answers)
	}
}
