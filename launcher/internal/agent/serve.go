// Package agent is the first process in a sandbox: it starts what the host asks for, streams its output, reaps what
// is left behind, and keeps its channel to the host out of everybody else's reach.
package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"packrunner/launcher/internal/frame"
)

const (
	maxRuns   = 512
	maxReason = 4 << 10 // bytes of an error text, which may quote a path of any length
)

// server answers the frames of one host.
type server struct {
	reader *frame.Reader
	writer *frame.Writer
	reaper *reaper

	mutex  sync.Mutex
	active map[uint32]*run
	open   int        // runs whose exit frame has not been sent
	idle   *sync.Cond // open has changed
	failed chan error
}

// Serve speaks the protocol on stdin and stdout until the host says quit or goes away. It returns the exit code.
func Serve(identity Identity) int {
	channel, err := claimChannel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "packrunner agent: cannot take over stdin and stdout: %v\n", err)
		return 1
	}
	s := &server{
		reader: frame.NewReader(bufio.NewReaderSize(channel, frame.MaxChunk)),
		writer: frame.NewWriter(channel),
		active: map[uint32]*run{},
		failed: make(chan error, 1),
	}
	s.idle = sync.NewCond(&s.mutex)
	if identity.Prepare {
		if err := s.prepare(identity); err != nil {
			return s.fatal(err)
		}
	}
	if err := harden(identity); err != nil {
		return s.fatal(err)
	}
	s.reaper = newReaper()
	s.send(frame.Hello, 0, frame.HelloReply{Protocol: frame.Protocol, UID: os.Getuid(), GID: os.Getgid()})
	go func() { s.failed <- s.loop() }()
	if err := <-s.failed; err != nil {
		killOthers()
		return s.fatal(err)
	}
	killOthers()
	return 0
}

// loop answers frames; it returns nil when the host is done.
func (s *server) loop() error {
	for {
		request, err := s.reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch request.Kind {
		case frame.Run:
			err = s.run(request)
		case frame.Input:
			s.input(request)
		case frame.Kill:
			err = s.kill(request)
		case frame.Sweep:
			err = s.sweep(request.ID)
		case frame.Quit:
			return nil
		default:
			err = fmt.Errorf("%w: a %q frame after the greeting", frame.ErrMalformed, request.Kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *server) run(request frame.Frame) error {
	command, err := frame.ParseRun(request.Payload)
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.active[request.ID] != nil {
		return fmt.Errorf("%w: run %d is already active", frame.ErrMalformed, request.ID)
	}
	if len(s.active) >= maxRuns {
		return fmt.Errorf("%w: more than %d runs at once", frame.ErrMalformed, maxRuns)
	}
	started, reply, err := start(s.reaper, s.writer, request.ID, command)
	if err != nil {
		return err
	}
	if reply != nil {
		reply.Error = shorten(reply.Error)
		return s.send(frame.Exit, request.ID, *reply)
	}
	s.active[request.ID] = started
	s.open++
	go s.follow(started)
	return nil
}

func (s *server) follow(r *run) {
	reply, err := r.follow()
	s.mutex.Lock()
	delete(s.active, r.id) // before the exit frame, after which the host may use the id again
	s.mutex.Unlock()
	if err == nil {
		err = s.send(frame.Exit, r.id, reply)
	}
	s.mutex.Lock()
	s.open--
	s.idle.Broadcast()
	s.mutex.Unlock()
	if err != nil {
		select {
		case s.failed <- err:
		default:
		}
	}
}

// input feeds a run. One that has just ended needs no more: the frames crossed.
func (s *server) input(request frame.Frame) {
	s.mutex.Lock()
	target := s.active[request.ID]
	s.mutex.Unlock()
	if target != nil {
		target.input.feed(request.Payload)
	}
}

// kill signals a run's process group. A run that has just ended is no error: the frames crossed.
func (s *server) kill(request frame.Frame) error {
	command, err := frame.ParseKill(request.Payload)
	if err != nil {
		return err
	}
	s.mutex.Lock()
	target := s.active[request.ID]
	s.mutex.Unlock()
	if target != nil {
		target.child.signal(syscall.Signal(command.Signal))
	}
	return nil
}

// sweep ends every other process; the runs that this ends are reported first.
func (s *server) sweep(id uint32) error {
	if err := endOthers(s.reaper); err != nil {
		return err
	}
	s.mutex.Lock()
	for s.open > 0 {
		s.idle.Wait()
	}
	s.mutex.Unlock()
	return s.writer.Send(frame.Done, id, nil)
}

func (s *server) send(kind byte, id uint32, reply any) error {
	payload, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	return s.writer.Send(kind, id, payload)
}

// fatal tells the host why the agent gives up. When the channel itself is broken nobody is left to read it.
func (s *server) fatal(cause error) int {
	if err := s.send(frame.Fatal, 0, frame.FatalReply{Error: shorten(cause.Error())}); err != nil {
		fmt.Fprintf(os.Stderr, "packrunner agent: %v\n", cause)
	}
	return 1
}

func shorten(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return text[:maxReason] + " ..."
}
