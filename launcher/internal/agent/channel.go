package agent

import (
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// channelFloor is the lowest descriptor that the channel may take: 0 to 2 belong to the commands.
const channelFloor = 10

// channel is the connection to the host, on descriptors that no command inherits.
type channel struct {
	in, out int
}

// claimChannel moves stdin and stdout to descriptors that close on exec, and leaves /dev/null in their place. Every
// other descriptor that the agent was started with is closed on exec too (SBX-24, SBX-27).
func claimChannel() (channel, error) {
	in, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, channelFloor)
	if err != nil {
		return channel{}, err
	}
	out, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, channelFloor)
	if err != nil {
		return channel{}, err
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return channel{}, err
	}
	defer unix.Close(null)
	for descriptor := range 2 {
		if err := unix.Dup3(null, descriptor, 0); err != nil {
			return channel{}, err
		}
	}
	if err := closeOnExec(3); err != nil {
		return channel{}, err
	}
	grow(in)
	grow(out)
	return channel{in: in, out: out}, nil
}

// closeOnExec marks all descriptors from first on.
func closeOnExec(first uint) error {
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11: one by one, up to the limit.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for descriptor := first; uint64(descriptor) < min(limit.Cur, 1<<20); descriptor++ {
		unix.CloseOnExec(int(descriptor))
	}
	return nil
}

// Read implements io.Reader.
func (c channel) Read(buffer []byte) (int, error) {
	for {
		n, err := unix.Read(c.in, buffer)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(buffer) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements io.Writer.
func (c channel) Write(buffer []byte) (int, error) {
	written := 0
	for written < len(buffer) {
		n, err := unix.Write(c.out, buffer[written:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return written, err
		}
		written += n
	}
	return written, nil
}
