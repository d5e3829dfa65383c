package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DirectoryVariable names the variable that says where supervisors and those who look for them meet.
const DirectoryVariable = "PACKRUNNER_RELOADER_DIR"

const suffix = ".sock"

var errNoPlace = errors.New("no place for sockets: " + DirectoryVariable + ", TMPDIR and /tmp cannot be used")

// places are the directories where supervisors may meet, the best first.
func places() []string {
	var found []string
	for _, parent := range []string{os.Getenv(DirectoryVariable), os.Getenv("TMPDIR"), "/tmp", "/dev/shm"} {
		if parent != "" {
			found = append(found, filepath.Join(parent, fmt.Sprintf("packrunner-reloader-%d", os.Geteuid())))
		}
	}
	return found
}

// MeetingPlace is a directory that nobody else can enter, made where there is none.
func MeetingPlace() (string, error) {
	for _, path := range places() {
		if err := os.Mkdir(path, 0o700); err == nil || os.IsExist(err) {
			if own(path) {
				return path, nil
			}
		}
	}
	return "", errNoPlace
}

// own reports whether path is a directory of this user's that nobody else can enter: in /tmp, another may have been
// faster.
func own(path string) bool {
	var found unix.Stat_t
	if unix.Lstat(path, &found) != nil {
		return false
	}
	return found.Mode&unix.S_IFMT == unix.S_IFDIR && int(found.Uid) == os.Geteuid() && found.Mode&0o077 == 0 &&
		unix.Access(path, unix.W_OK) == nil
}

// sockets are those of the supervisors, by path.
func sockets() []string {
	for _, place := range places() {
		if !own(place) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(place, "*"+suffix))
		if err == nil && len(found) > 0 {
			return found
		}
	}
	return nil
}

// listen opens a socket of that name; it is seen when it can be connected to.
func listen(place, name string) (net.Listener, error) {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == 0 || r == '*' || r == '[' || r == '?' || r == '\\' {
			return '_'
		}
		return r
	}, name)
	path := filepath.Join(place, name+suffix)
	if connection, err := net.Dial("unix", path); err == nil {
		connection.Close() // another process of this type, started by hand
		path = filepath.Join(place, fmt.Sprintf("%s.%d%s", name, os.Getpid(), suffix))
	}
	making := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(making)
	listener, err := net.Listen("unix", making)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Rename(making, path); err != nil {
		listener.Close()
		return nil, err
	}
	return socket{listener, path}, nil
}

// socket is removed when it is closed.
type socket struct {
	net.Listener
	path string
}

func (s socket) Close() error {
	return errors.Join(os.Remove(s.path), s.Listener.Close())
}
