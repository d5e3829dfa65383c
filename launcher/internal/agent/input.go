package agent

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// inputQueue is how many frames may wait for a command to read them; then the host waits too.
const inputQueue = 64

// input feeds a command's stdin from a goroutine of its own. A nil input takes everything and keeps nothing.
type input struct {
	pipe  int
	queue chan []byte
	done  chan struct{}
	once  sync.Once
}

// newInput makes the pipe; the command's end of it comes first.
func newInput() (int, *input, error) {
	var pair [2]int
	if err := unix.Pipe2(pair[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, fmt.Errorf("pipe: %w", err)
	}
	grow(pair[1])
	i := &input{pipe: pair[1], queue: make(chan []byte, inputQueue), done: make(chan struct{})}
	go i.write()
	return pair[0], i, nil
}

// feed queues what the host sent; nothing more follows an empty payload, which is only valid until the next read.
func (i *input) feed(payload []byte) {
	if i == nil {
		return
	}
	select {
	case i.queue <- append([]byte(nil), payload...):
	case <-i.done:
	}
}

// end stops the feeding; what is still queued is dropped.
func (i *input) end() {
	if i != nil {
		i.once.Do(func() { close(i.done) })
	}
}

func (i *input) write() {
	defer unix.Close(i.pipe)
	defer i.end()
	for {
		select {
		case <-i.done:
			return
		case data := <-i.queue:
			if len(data) == 0 {
				return
			}
			for len(data) > 0 {
				n, err := unix.Write(i.pipe, data)
				if errors.Is(err, unix.EINTR) {
					continue
				}
				if err != nil {
					return // the command does not want to read it
				}
				data = data[n:]
			}
		}
	}
}
