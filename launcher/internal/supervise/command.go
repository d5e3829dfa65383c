package supervise

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// keptOutput is how much of a command's output, from its end, is kept.
	keptOutput = 64 << 10
	// Whoever a command leaves behind may hold its output open.
	lastOutput = 500 * time.Millisecond
)

// Command runs argv to its end, in the application's directory, and returns its exit code and the end of its output,
// all of which also goes to show. It gets nothing to read.
func (r *Reaper) Command(argv []string, directory string, show io.Writer) (code int, output []byte) {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return codeNotFound, fmt.Appendf(nil, "%v\n", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return codeNotStarted, fmt.Appendf(nil, "%v\n", err)
	}
	defer read.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		write.Close()
		return codeNotStarted, fmt.Appendf(nil, "%v\n", err)
	}
	runtime.LockOSThread() // see Run
	defer runtime.UnlockOSThread()
	started, err := r.start(program, argv, &syscall.ProcAttr{
		Dir: directory, Env: os.Environ(), Files: []uintptr{nothing.Fd(), write.Fd(), write.Fd()},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	nothing.Close()
	write.Close()
	if err != nil {
		return codeNotStarted, fmt.Appendf(nil, "%s: %v\n", program, err)
	}
	go func() {
		<-started.ended
		read.SetReadDeadline(time.Now().Add(lastOutput))
	}()
	kept := tail{show: show}
	io.Copy(&kept, read)
	<-started.ended
	code, _ = started.result()
	return code, kept.end[max(0, len(kept.end)-keptOutput):]
}

// tail passes on what is written to it, and keeps the end.
type tail struct {
	show io.Writer
	end  []byte
}

func (t *tail) Write(data []byte) (int, error) {
	t.end = append(t.end, data...)
	if len(t.end) > 2*keptOutput {
		t.end = append([]byte(nil), t.end[len(t.end)-keptOutput:]...)
	}
	return t.show.Write(data)
}
