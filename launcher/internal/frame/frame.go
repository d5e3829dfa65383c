// Package frame is the wire format between packrunner on the host and the agent in a sandbox: one byte of kind,
// four bytes of run id, four bytes of payload length (both big-endian), then the payload.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Protocol is the number that Hello carries; a host refuses an agent of another one.
const Protocol = 2

// Kinds sent by the host.
const (
	Prepare = 'P' // before the greeting: what root has to set out
	Run     = 'R'
	Input   = 'I' // bytes for a run's stdin, or of what Prepare announced; none are its end
	Kill    = 'K'
	Sweep   = 'S'
	Quit    = 'Q'
)

// Kinds sent by the agent.
const (
	Lacking = 'L' // the answer to Prepare: which places are empty
	Hello   = 'H'
	Stdout  = 'O'
	Stderr  = 'E'
	Exit    = 'X'
	Done    = 'D'
	Fatal   = 'F'
)

// Sizes in bytes.
const (
	HeaderSize = 9
	MaxRequest = 1 << 20
	MaxChunk   = 64 << 10
)

// ErrMalformed is wrapped by every error that the host's bytes cause.
var ErrMalformed = errors.New("malformed frame")

// Frame is one message. Its payload is valid until the next Read.
type Frame struct {
	Kind    byte
	ID      uint32
	Payload []byte
}

// Reader decodes the host's frames. It never holds more than one frame of at most MaxRequest bytes.
type Reader struct {
	source io.Reader
	header [HeaderSize]byte
	buffer []byte
}

// NewReader reads frames from source, which should be buffered when its reads are dear.
func NewReader(source io.Reader) *Reader {
	return &Reader{source: source}
}

// Read returns the next frame, io.EOF between frames, or an error that wraps ErrMalformed.
func (r *Reader) Read() (Frame, error) {
	if _, err := io.ReadFull(r.source, r.header[:]); err != nil {
		return Frame{}, cut(err)
	}
	kind, size := r.header[0], binary.BigEndian.Uint32(r.header[5:])
	frame := Frame{Kind: kind, ID: binary.BigEndian.Uint32(r.header[1:])}
	switch kind {
	case Prepare, Run, Kill, Input:
		limit := uint32(MaxRequest)
		if kind == Input {
			limit = MaxChunk
		}
		if size > limit {
			return Frame{}, fmt.Errorf("%w: %q frame of %d bytes, the limit is %d", ErrMalformed, kind, size, limit)
		}
	case Sweep, Quit:
		if size != 0 {
			return Frame{}, fmt.Errorf("%w: %q frame carries %d bytes, none are allowed", ErrMalformed, kind, size)
		}
	default:
		return Frame{}, fmt.Errorf("%w: unknown kind %q", ErrMalformed, kind)
	}
	if int(size) > cap(r.buffer) {
		r.buffer = make([]byte, size)
	}
	frame.Payload = r.buffer[:size]
	if _, err := io.ReadFull(r.source, frame.Payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, cut(err)
	}
	return frame, nil
}

// cut tells the end of the stream inside a frame, which is malformed, from a clean end and from a failed read.
func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the stream ended inside a frame", ErrMalformed)
	}
	return err
}

// Writer sends frames; one frame is one write, so frames of several runs never mix.
type Writer struct {
	mutex  sync.Mutex
	target io.Writer
}

// NewWriter writes frames to target.
func NewWriter(target io.Writer) *Writer {
	return &Writer{target: target}
}

// Send writes one frame with a small payload.
func (w *Writer) Send(kind byte, id uint32, payload []byte) error {
	return w.SendChunk(kind, id, append(make([]byte, HeaderSize, HeaderSize+len(payload)), payload...))
}

// SendChunk writes one frame from a buffer whose first HeaderSize bytes are room for the header.
func (w *Writer) SendChunk(kind byte, id uint32, buffer []byte) error {
	buffer[0] = kind
	binary.BigEndian.PutUint32(buffer[1:], id)
	binary.BigEndian.PutUint32(buffer[5:], uint32(len(buffer)-HeaderSize))
	w.mutex.Lock()
	defer w.mutex.Unlock()
	_, err := w.target.Write(buffer)
	return err
}
