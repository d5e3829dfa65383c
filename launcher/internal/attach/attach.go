package attach

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"packrunner/launcher/internal/apply"
	"packrunner/launcher/internal/confined"
	"packrunner/launcher/internal/rules"
	"packrunner/launcher/internal/supervise"
)

// session is one host at the other end.
type session struct {
	app     string
	rules   *rules.Rules
	applier *apply.Applier
	input   *bufio.Reader
	output  *json.Encoder
	mutex   sync.Mutex // of output
	holds   *supervise.Holds
	jobs    queue
}

// Run serves one host until it closes the input. The exit code is 0 unless it broke the protocol.
func Run(app string, found *rules.Rules, input io.Reader, output io.Writer) int {
	s := &session{
		app: app, rules: found, input: bufio.NewReaderSize(input, 1<<20), output: json.NewEncoder(output),
	}
	s.jobs.init()
	s.output.SetEscapeHTML(false)
	s.applier = &apply.Applier{Rules: found, App: app, Reaper: supervise.NewReaper(), Show: io.Discard, Enough: s.jobs.waiting}
	greeted := make(chan struct{})
	s.holds = supervise.HoldAll(func(m supervise.Message) {
		<-greeted
		switch m.Event {
		case supervise.Crash:
			s.send(crashed{Event: m.Event, Process: m.Process, Code: m.Code, Signal: m.Signal})
		case supervise.Up:
			s.send(happened{Event: m.Event, Process: m.Process, MS: &m.MS})
		}
	})
	s.send(hello{Event: "hello", Version: Version, App: app, Processes: s.holds.Processes()})
	close(greeted)
	go supervise.Arrivals(s.holds.Look)
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		for job := s.jobs.take(); job != nil; job = s.jobs.take() {
			job()
		}
	}()
	err := s.read()
	s.jobs.put(nil)
	<-worked
	// What was copied has been applied, so the supervisors need not do it again.
	s.holds.Release(errors.Is(err, io.EOF))
	if errors.Is(err, io.EOF) {
		return 0
	}
	fmt.Fprintf(os.Stderr, "reloader: %v\n", err)
	return 1
}

func (s *session) send(event any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.output.Encode(event) != nil {
		os.Exit(1) // nobody listens any more
	}
}

// read takes requests until there are none. Files are copied at once; what follows from them waits for what follows
// from earlier ones.
func (s *session) read() error {
	for {
		asked, err := readRequest(s.input)
		if err != nil {
			return err
		}
		switch {
		case asked.Manifest:
			s.jobs.put(func() { s.manifest(asked.ID) })
		case asked.Restart != nil:
			s.jobs.put(func() { s.restart(asked.ID, *asked.Restart) })
		case asked.Changes != nil:
			paths, err := s.copy(asked)
			if err != nil {
				return err
			}
			s.jobs.put(func() { s.apply(asked.ID, paths) })
		default:
			s.send(refused{Event: "error", ID: asked.ID, Why: "a request of an unknown kind"})
		}
	}
}

// copy makes the changes and returns the paths of those that could be made.
func (s *session) copy(asked *request) ([]string, error) {
	result := copied{Event: "copied", ID: asked.ID, Failed: []failure{}}
	tree, err := s.place(asked.Dest)
	var paths []string
	for _, one := range asked.Changes {
		why, lost := err, error(nil)
		if err == nil {
			why, lost = one.make(tree, s.input)
		} else if one.Kind == kindFile {
			_, lost = io.CopyN(io.Discard, s.input, one.Size)
		}
		if lost != nil {
			return nil, io.ErrUnexpectedEOF
		}
		if why != nil {
			result.Failed = append(result.Failed, failure{one.Path, why.Error()})
			continue
		}
		paths = append(paths, one.Path)
	}
	if tree != nil {
		tree.Close()
	}
	s.send(result)
	return paths, nil
}

// place opens the tree that is changed: the application's, or one that a rule names.
func (s *session) place(dest string) (*confined.Tree, error) {
	if dest == "" || dest == s.app {
		return confined.Open(s.app)
	}
	if !slices.Contains(s.rules.Places(s.app), dest) {
		return nil, fmt.Errorf("no rule copies to %s", dest)
	}
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return nil, err
	}
	return confined.Open(dest)
}

func (s *session) apply(id int64, paths []string) {
	result := s.applier.Apply(paths, s.tell(id), func(apply.Result) {})
	if result.Action == "" {
		result.Action = rules.Sync
	}
	s.finish(id, result)
}

func (s *session) restart(id int64, names []string) {
	result := apply.Result{Action: rules.Restart, Self: []string{}, Restarted: []string{}}
	var chosen []supervise.Peer
	for _, peer := range supervise.Peers() {
		if len(names) == 0 || slices.Contains(names, peer.Process) {
			chosen = append(chosen, peer)
			result.Restarted = append(result.Restarted, peer.Process)
		}
	}
	s.applier.Restart(chosen, s.tell(id))
	s.finish(id, result)
}

func (s *session) finish(id int64, result apply.Result) {
	s.send(finished{Event: "done", ID: id, Action: result.Action, Self: result.Self, Restarted: result.Restarted})
}

// tell passes on what happens because of a request. Crashes are told by the supervisors themselves.
func (s *session) tell(id int64) func(supervise.Message) {
	return func(m supervise.Message) {
		switch m.Event {
		case supervise.Exec:
			s.send(executed{Event: m.Event, ID: id, Command: m.Command, Code: m.Code, Output: m.Output, MS: m.MS})
		case supervise.Restarting:
			s.send(happened{Event: m.Event, ID: id, Process: m.Process})
		case supervise.Up:
			s.send(happened{Event: m.Event, ID: id, Process: m.Process, MS: &m.MS})
		case supervise.Failed:
			s.send(refused{Event: "error", ID: id, Why: m.Process + ": " + m.Why})
		}
	}
}
