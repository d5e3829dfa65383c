package supervise

import (
	"slices"
	"sync"
)

// Holds are the supervisors that leave the tree to the caller.
type Holds struct {
	mutex sync.Mutex
	tell  func(Message)
	held  map[string]func(baseline bool) // by the path of the socket
	names []string
}

// HoldAll holds all supervisors that there are; tell is told of crashes.
func HoldAll(tell func(Message)) *Holds {
	h := &Holds{tell: tell, held: map[string]func(bool){}}
	h.Look()
	return h
}

// Look holds those that came later.
func (h *Holds) Look() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, peer := range Peers() {
		if h.held[peer.path] != nil {
			continue
		}
		if release, err := peer.Hold(h.tell); err == nil {
			h.held[peer.path] = release
			h.names = append(h.names, peer.Process)
		}
	}
}

// Processes are the types that are supervised.
func (h *Holds) Processes() []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	slices.Sort(h.names)
	return append([]string{}, h.names...)
}

// Release gives the tree back. With baseline, all of it has been seen to.
func (h *Holds) Release(baseline bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, release := range h.held {
		release(baseline)
	}
}
