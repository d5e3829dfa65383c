package frame

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// RunRequest is the payload of a Run frame.
type RunRequest struct {
	Argv      []Bytes `json:"argv"`
	Env       []Bytes `json:"env"`
	Cwd       Bytes   `json:"cwd"`
	TimeoutMS int64   `json:"timeout_ms"`
	User      []int   `json:"user"`  // uid and gid, where it is not the agent's own
	Stdin     bool    `json:"stdin"` // Input frames follow; else it reads nothing
}

// PrepareRequest is the payload of a Prepare frame. The places of Marked hold what their mark names, or are empty.
type PrepareRequest struct {
	Own    map[string]int64  `json:"own"` // directories to give to the user, and the modes that they get
	Marked map[string]string `json:"marked"`
}

// LackingReply is the payload of a Lacking frame: those of the marked places whose content has to be sent.
type LackingReply struct {
	Places []string `json:"places"`
}

// KillRequest is the payload of a Kill frame: a signal number for the run's process group.
type KillRequest struct {
	Signal int `json:"signal"`
}

// HelloReply is the payload of a Hello frame.
type HelloReply struct {
	Protocol int `json:"protocol"`
	UID      int `json:"uid"`
	GID      int `json:"gid"`
}

// ExitReply is the payload of an Exit frame. Code is the status or 128 + Signal; Error says why nothing was started.
type ExitReply struct {
	Code     int    `json:"code"`
	Signal   int    `json:"signal"`
	Error    string `json:"error"`
	TimedOut bool   `json:"timed_out"`
}

// FatalReply is the payload of a Fatal frame.
type FatalReply struct {
	Error string `json:"error"`
}

// ParseRun decodes and checks a Run payload; errors wrap ErrMalformed.
func ParseRun(payload []byte) (RunRequest, error) {
	var request RunRequest
	if err := decode(payload, &request); err != nil {
		return request, err
	}
	if len(request.Argv) == 0 {
		return request, fmt.Errorf("%w: argv is empty", ErrMalformed)
	}
	for _, pair := range request.Env {
		if strings.IndexByte(string(pair), '=') < 1 {
			return request, fmt.Errorf("%w: an env entry is not NAME=value", ErrMalformed)
		}
	}
	if request.TimeoutMS < 0 || request.TimeoutMS > math.MaxInt64/int64(time.Millisecond) {
		return request, fmt.Errorf("%w: timeout_ms is out of range", ErrMalformed)
	}
	if n := len(request.User); n != 0 && (n != 2 || !isID(request.User[0]) || !isID(request.User[1])) {
		return request, fmt.Errorf("%w: user is not a uid and a gid", ErrMalformed)
	}
	return request, nil
}

func isID(id int) bool { return id >= 0 && id <= math.MaxInt32 }

// ParsePrepare decodes and checks a Prepare payload; errors wrap ErrMalformed.
func ParsePrepare(payload []byte) (PrepareRequest, error) {
	var request PrepareRequest
	err := decode(payload, &request)
	return request, err
}

// ParseKill decodes and checks a Kill payload; errors wrap ErrMalformed.
func ParseKill(payload []byte) (KillRequest, error) {
	var request KillRequest
	if err := decode(payload, &request); err != nil {
		return request, err
	}
	if request.Signal < 1 || request.Signal > 64 {
		return request, fmt.Errorf("%w: no such signal: %d", ErrMalformed, request.Signal)
	}
	return request, nil
}

func decode(payload []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one JSON value", ErrMalformed)
	}
	return nil
}
