package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"syscall"
)

// What a supervisor is asked for through its socket, one JSON document a line.
const (
	askStatus   = "status"
	askRestart  = "restart"
	askHold     = "hold"     // leave the tree to the asker, until the connection ends
	askBaseline = "baseline" // on a connection that holds: all of the tree as it is now has been seen to
	askSettle   = "settle"   // look at the tree now, and answer when all is applied
)

type question struct {
	Ask string `json:"ask"`
}

// Message is what a supervisor says.
type Message struct {
	Event   string   `json:"event"`
	Process string   `json:"process,omitempty"`
	Self    bool     `json:"self,omitempty"`
	Running bool     `json:"running,omitempty"`
	Leads   bool     `json:"leads,omitempty"`
	Code    int      `json:"code,omitempty"`
	Signal  int      `json:"signal,omitempty"`
	MS      int64    `json:"ms,omitempty"`
	Command []string `json:"command,omitempty"`
	Output  string   `json:"output,omitempty"`
	Why     string   `json:"why,omitempty"`
}

// What a Message tells.
const (
	Status     = "status"
	Restarting = "restarting"
	Started    = "started" // and not up yet, or ended already
	Up         = "up"
	Failed     = "failed" // the supervisor cannot be reached
	Crash      = "crash"
	Exec       = "exec"
	Settled    = "settled"
	held       = "held"
	done       = "done"
)

const longestMessage = 1 << 20

// Peer is a supervisor, seen through its socket.
type Peer struct {
	Process string
	Self    bool
	Running bool
	path    string
}

// Peers are the supervisors that can be reached. Sockets of those that were killed are removed.
func Peers() []Peer {
	var found []Peer
	for _, path := range sockets() {
		status, err := status(path)
		if err == nil {
			found = append(found, Peer{Process: status.Process, Self: status.Self, Running: status.Running, path: path})
		}
	}
	return found
}

func status(path string) (Message, error) {
	var last Message
	err := converse(path, askStatus, func(m Message) { last = m })
	return last, err
}

// Restart starts the process again, or for the first time after it ended, and tells what happens until it is up.
func (p Peer) Restart(tell func(Message)) error {
	return converse(p.path, askRestart, tell)
}

// Settle has the supervisors look at the tree now, and tells what was run because of changes; its result is the exit
// code of a command that failed. Without a supervisor there is nobody to look.
func Settle(tell func(Message)) (code int, err error) {
	for _, path := range sockets() {
		err = errors.Join(err, converse(path, askSettle, func(m Message) {
			if m.Event == Settled {
				code = max(code, m.Code)
				return
			}
			tell(m)
		}))
	}
	return code, err
}

// converse asks and passes on the answers until the other side is done.
func converse(path, ask string, tell func(Message)) error {
	connection, err := dial(path)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := json.NewEncoder(connection).Encode(question{ask}); err != nil {
		return err
	}
	return each(connection, tell)
}

func dial(path string) (net.Conn, error) {
	connection, err := net.Dial("unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(path)
	}
	return connection, err
}

// each passes on what comes until the end, or until `done`.
func each(connection net.Conn, tell func(Message)) error {
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, longestMessage)
	for lines.Scan() {
		var message Message
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			return err
		}
		if message.Event == done {
			return nil
		}
		tell(message)
	}
	return lines.Err()
}

// Hold makes a supervisor leave the tree to the caller, and tells of crashes and of what comes up by itself, or is up
// already, until release is called. With baseline,
// the tree as it is then has been seen to, and the supervisor does nothing about it.
func (p Peer) Hold(tell func(Message)) (release func(baseline bool), err error) {
	connection, err := dial(p.path)
	if err != nil {
		return nil, err
	}
	ask := json.NewEncoder(connection)
	if err := ask.Encode(question{askHold}); err != nil {
		connection.Close()
		return nil, err
	}
	ended, begun := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		each(connection, func(m Message) {
			if m.Event == held {
				close(begun)
				return
			}
			tell(m)
		})
	}()
	select {
	case <-begun:
	case <-ended:
		connection.Close()
		return nil, errors.New("the supervisor has ended")
	}
	return func(baseline bool) {
		if baseline && ask.Encode(question{askBaseline}) == nil {
			<-ended // it says that it is done
		}
		connection.Close()
		<-ended
	}, nil
}
