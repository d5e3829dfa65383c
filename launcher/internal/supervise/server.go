package supervise

import (
	"bufio"
	"encoding/json"
	"net"
	"sync/atomic"
)

const longestQuestion = 4096

// Follower acts on changes of the tree that nobody announces. It belongs to one of the supervisors, who leads.
type Follower interface {
	Pause()
	Resume(baseline bool) // with baseline, what the tree is now has been seen to
	Settle(tell func(Message))
	Leads() bool
}

// server answers at the supervisor's socket. running and leads are what the others may know.
type server struct {
	settings Settings
	requests chan<- request
	holds    *holders
	running  *atomic.Bool
	isUp     func() bool
	follower Follower
}

func (s *server) serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go s.answer(connection)
	}
}

func (s *server) answer(connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, longestQuestion)
	tell := json.NewEncoder(connection)
	for lines.Scan() {
		var asked question
		if json.Unmarshal(lines.Bytes(), &asked) != nil {
			return
		}
		switch asked.Ask {
		case askStatus:
			tell.Encode(Message{Event: Status, Process: s.settings.Name, Self: s.settings.Self, Running: s.running.Load(), Leads: s.follower.Leads()})
		case askRestart:
			s.restart(tell)
		case askSettle:
			s.follower.Settle(func(m Message) { tell.Encode(m) })
		case askHold:
			s.hold(lines, tell)
			return
		}
		if tell.Encode(Message{Event: done}) != nil {
			return
		}
	}
}

func (s *server) restart(tell *json.Encoder) {
	answers := make(chan Message, unread)
	s.requests <- request{answers}
	for message := range answers {
		tell.Encode(message)
	}
}

// hold keeps the supervisor from looking at the tree until the connection ends.
func (s *server) hold(lines *bufio.Scanner, tell *json.Encoder) {
	told := s.holds.add()
	s.follower.Pause()
	tell.Encode(Message{Event: held})
	if s.isUp() {
		tell.Encode(Message{Event: Up, Process: s.settings.Name})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case message := <-told:
				tell.Encode(message)
			case <-stop:
				return
			}
		}
	}()
	seen := false
	for !seen && lines.Scan() {
		var asked question
		seen = json.Unmarshal(lines.Bytes(), &asked) == nil && asked.Ask == askBaseline
	}
	close(stop)
	<-stopped
	s.holds.remove(told)
	s.follower.Resume(seen)
	tell.Encode(Message{Event: done})
}
