package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"packrunner/launcher/internal/frame"
)

// mark is the file in which a place that is kept says what it holds; the content of another name is none.
const mark = ".packrunner"

// readable is the mode that a file set out by root gets: nobody else may change it, and the build's user may read what
// its owner on the host may.
func readable(mode int64) int64 {
	owners := mode & 0o500
	return mode&^0o022 | owners>>3 | owners>>6
}

// prepare does, still as root, what the host asks for before the greeting: directories are given to the user, and
// places that nobody may change are filled with what is root's. Where no mount can be read-only until it is full, its
// owner protects it.
func (s *server) prepare(identity Identity) error {
	request, err := s.awaitPrepare()
	if err != nil {
		return err
	}
	for path, mode := range request.Own {
		if err := give(path, mode, identity); err != nil {
			return err
		}
	}
	lacking := frame.LackingReply{Places: []string{}}
	for place, content := range request.Marked {
		if found, err := os.ReadFile(filepath.Join(place, mark)); err != nil || string(found) != content {
			lacking.Places = append(lacking.Places, place)
		}
	}
	if err := s.send(frame.Lacking, 0, lacking); err != nil {
		return err
	}
	unpacked := unpacking{place: absolute, mode: readable}
	content := &prepared{reader: s.reader}
	if err := unpacked.all(content); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	for _, place := range lacking.Places {
		path := filepath.Join(place, mark)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.WriteFile(path, []byte(request.Marked[place]), 0o444); err != nil {
			return err
		}
	}
	return nil
}

// give makes a volume's top the user's. It may be so already: then root, who has no right over others' files, cannot
// change its mode, and takes it back for that.
func give(path string, mode int64, identity Identity) error {
	// Opened, because the image may have a link in its place, which the mount has followed too.
	directory, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer directory.Close()
	return errors.Join(directory.Chown(0, 0), directory.Chmod(fileMode(mode)), directory.Chown(identity.UID, identity.GID))
}

func (s *server) awaitPrepare() (frame.PrepareRequest, error) {
	received, err := s.reader.Read()
	if err != nil {
		return frame.PrepareRequest{}, err
	}
	if received.Kind != frame.Prepare {
		return frame.PrepareRequest{}, fmt.Errorf("%w: a %q frame instead of what is to be prepared", frame.ErrMalformed, received.Kind)
	}
	return frame.ParsePrepare(received.Payload)
}

func absolute(name string) (string, error) {
	if !filepath.IsAbs(name) || filepath.Clean(name) != strings.TrimSuffix(name, "/") {
		return "", errors.New("not a plain absolute path")
	}
	return filepath.Clean(name), nil
}

// prepared reads the bytes of Input frames, until an empty one.
type prepared struct {
	reader *frame.Reader
	rest   []byte
	ended  bool
}

// Read implements io.Reader.
func (p *prepared) Read(buffer []byte) (int, error) {
	for len(p.rest) == 0 && !p.ended {
		received, err := p.reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case received.Kind != frame.Input:
			return 0, fmt.Errorf("%w: a %q frame among what is prepared", frame.ErrMalformed, received.Kind)
		}
		p.rest, p.ended = received.Payload, len(received.Payload) == 0
	}
	if p.ended {
		return 0, io.EOF
	}
	n := copy(buffer, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
