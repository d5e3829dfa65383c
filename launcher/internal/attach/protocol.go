// Package attach lets `packrunner dev` bring changed files, and tells it what becomes of them.
//
// Requests are JSON documents, one a line, on stdin; a request with changes is followed by the bytes of its files, one
// after another. Events are JSON documents, one a line, on stdout.
package attach

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"

	"packrunner/launcher/internal/confined"
)

// Version of the protocol.
const Version = 1

const (
	longestRequest = 64 << 20
	mostFiles      = 1000 // in one event
)

// The kinds of change.
const (
	kindFile      = "file"
	kindLink      = "link"
	kindDirectory = "dir"
	kindGone      = "gone"
)

var errTooLong = errors.New("a request is too long")

type request struct {
	ID       int64     `json:"id"`
	Changes  []change  `json:"changes"`
	Dest     string    `json:"dest"`
	Restart  *[]string `json:"restart"`
	Manifest bool      `json:"manifest"`
}

type change struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Mode     uint32 `json:"mode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"mtime_ns"`
	Target   string `json:"target"`
}

type failure struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

type hello struct {
	Event     string   `json:"event"`
	Version   int      `json:"version"`
	App       string   `json:"app"`
	Processes []string `json:"processes"`
}

type copied struct {
	Event  string    `json:"event"`
	ID     int64     `json:"id"`
	Failed []failure `json:"failed"`
}

type executed struct {
	Event   string   `json:"event"`
	ID      int64    `json:"id"`
	Command []string `json:"command"`
	Code    int      `json:"code"`
	Output  string   `json:"output"`
	MS      int64    `json:"ms"`
}

type happened struct {
	Event   string `json:"event"`
	ID      int64  `json:"id"`
	Process string `json:"process"`
	MS      *int64 `json:"ms,omitempty"`
}

type crashed struct {
	Event   string `json:"event"`
	Process string `json:"process"`
	Code    int    `json:"code"`
	Signal  int    `json:"signal"`
}

type finished struct {
	Event     string   `json:"event"`
	ID        int64    `json:"id"`
	Action    string   `json:"action"`
	Self      []string `json:"self"`
	Restarted []string `json:"restarted"`
}

type refused struct {
	Event string `json:"event"`
	ID    int64  `json:"id"`
	Why   string `json:"why"`
}

type manifest struct {
	Event string  `json:"event"`
	ID    int64   `json:"id"`
	Files []entry `json:"files"`
	End   bool    `json:"end,omitempty"`
}

type entry struct {
	Path   string  `json:"path"`
	Kind   string  `json:"kind"`
	Mode   uint32  `json:"mode"`
	Size   int64   `json:"size"`
	SHA256 string  `json:"sha256,omitempty"`
	Target *string `json:"target,omitempty"`
}

// readRequest reads one line. At the end of the input it returns io.EOF.
func readRequest(input *bufio.Reader) (*request, error) {
	var line []byte
	for {
		part, err := input.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > longestRequest {
			return nil, errTooLong
		}
		if err == nil {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	var read request
	if err := json.Unmarshal(line, &read); err != nil {
		return nil, err
	}
	for _, one := range read.Changes {
		if one.Size < 0 {
			return nil, errors.New("a file of negative size")
		}
	}
	return &read, nil
}

// make makes a change; the bytes of a file are read from content whatever happens. lost: they did not come.
func (c change) make(tree *confined.Tree, content io.Reader) (why error, lost error) {
	switch c.Kind {
	case kindFile:
		counted := &io.LimitedReader{R: content, N: c.Size}
		err := tree.File(c.Path, c.Mode&0o777, time.Unix(0, c.Modified), c.Size, counted)
		if counted.N > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return err, nil
	case kindLink:
		return tree.Link(c.Path, c.Target), nil
	case kindDirectory:
		return tree.Directory(c.Path, c.Mode&0o777), nil
	case kindGone:
		return tree.Remove(c.Path), nil
	}
	return errors.New("unknown kind of change: " + c.Kind), nil
}
