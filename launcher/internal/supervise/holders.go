package supervise

import "sync"

const unread = 64

// holders are those who see to the tree themselves for now, and want to know of crashes.
type holders struct {
	mutex   sync.Mutex
	told    map[chan Message]bool
	changed chan struct{} // closed when somebody comes or goes
}

func (h *holders) add() chan Message {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.told == nil {
		h.told = map[chan Message]bool{}
	}
	told := make(chan Message, unread)
	h.told[told] = true
	h.notify()
	return told
}

func (h *holders) remove(told chan Message) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.told, told)
	h.notify()
}

func (h *holders) notify() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

func (h *holders) any() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return len(h.told) > 0
}

// change is closed when somebody comes or goes.
func (h *holders) change() <-chan struct{} {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// tell tells all who hold; who does not read misses it.
func (h *holders) tell(message Message) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for told := range h.told {
		select {
		case told <- message:
		default:
		}
	}
}
