package attach

import "sync"

// queue has what is to be done, one after another.
type queue struct {
	mutex sync.Mutex
	jobs  []func()
	some  chan struct{} // closed while there is something
}

func (q *queue) init() {
	q.some = make(chan struct{})
}

// put adds a job.
func (q *queue) put(job func()) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if q.jobs = append(q.jobs, job); len(q.jobs) == 1 {
		close(q.some)
	}
}

// take waits for a job.
func (q *queue) take() func() {
	<-q.waiting()
	q.mutex.Lock()
	defer q.mutex.Unlock()
	job := q.jobs[0]
	if q.jobs = q.jobs[1:]; len(q.jobs) == 0 {
		q.some = make(chan struct{})
	}
	return job
}

// waiting is closed when there is something to take.
func (q *queue) waiting() <-chan struct{} {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.some
}
