package supervise

import (
	"sync/atomic"
	"time"
)

// A process is up when it has begun to listen on $PORT; where it never does, when it has lived for a moment.
const (
	alive     = 200 * time.Millisecond
	firstWait = 3 * time.Second // for a port that nobody was ever seen to listen on
	longWait  = 30 * time.Second
	lookEvery = 10 * time.Millisecond
)

// upness is what is known of how a process comes up.
type upness struct {
	port    uint16
	listens atomic.Bool // it was seen to begin listening
	silent  atomic.Bool // it was given the time and did not
}

// wait returns when the process is up, or has ended, or takes too long. busy: somebody listened before it started.
func (u *upness) wait(started *child, busy bool) (took time.Duration, isUp bool) {
	began := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-started.ended:
			<-started.seen
			return 0, false
		case <-look.C:
		}
		open := listening(u.port)
		busy = busy && open
		lived := time.Since(began)
		if open && !busy {
			u.listens.Store(true)
			return lived, true
		}
		switch {
		case lived < alive:
		case open, u.port == 0, u.silent.Load() && !u.listens.Load():
			return lived, true
		case !u.listens.Load() && lived >= firstWait:
			u.silent.Store(true)
			return lived, true
		case lived >= longWait:
			return lived, false
		}
	}
}
