package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func encode(kind byte, id uint32, size uint32, payload string) []byte {
	out := make([]byte, HeaderSize, HeaderSize+len(payload))
	out[0] = kind
	binary.BigEndian.PutUint32(out[1:], id)
	binary.BigEndian.PutUint32(out[5:], size)
	return append(out, payload...)
}

func TestReadsFramesInOrder(t *testing.T) {
	stream := append(encode(Run, 7, 2, "{}"), encode(Sweep, 8, 0, "")...)
	reader := NewReader(bytes.NewReader(stream))
	first, err := reader.Read()
	if err != nil || first.Kind != Run || first.ID != 7 || string(first.Payload) != "{}" {
		t.Fatalf("first frame: %+v, %v", first, err)
	}
	second, err := reader.Read()
	if err != nil || second.Kind != Sweep || second.ID != 8 || len(second.Payload) != 0 {
		t.Fatalf("second frame: %+v, %v", second, err)
	}
	if _, err := reader.Read(); err != io.EOF {
		t.Fatalf("the end: %v, want io.EOF", err)
	}
}

// SBX-28: what is not a frame ends the conversation, whatever it claims to be.
func TestRefusesMalformedFrames(t *testing.T) {
	for name, stream := range map[string][]byte{
		"unknown kind":           encode('Z', 1, 0, ""),
		"agent's own kind":       encode(Exit, 1, 2, "{}"),
		"one byte over":          encode(Run, 1, MaxRequest+1, ""),
		"4 GiB":                  encode(Run, 1, 0xFFFFFFFF, "x"),
		"payload where none is":  encode(Sweep, 1, 1, "x"),
		"payload with quit":      encode(Quit, 1, 4, "quit"),
		"ends before its length": encode(Kill, 1, 20, "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewReader(bytes.NewReader(stream)).Read(); !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
		})
	}
}

func TestCutAtEachByteIsMalformedAndNeverAFrame(t *testing.T) {
	whole := encode(Run, 1, 5, "12345")
	for length := 1; length < len(whole); length++ {
		if _, err := NewReader(bytes.NewReader(whole[:length])).Read(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: got %v, want ErrMalformed", length, err)
		}
	}
}

func TestAClaimedSizeAboveTheLimitAllocatesNothing(t *testing.T) {
	stream := encode(Run, 1, 0xFFFFFFFF, "")
	reader := NewReader(bytes.NewReader(stream))
	if _, err := reader.Read(); err == nil || cap(reader.buffer) != 0 {
		t.Fatalf("buffer of %d bytes, error %v", cap(reader.buffer), err)
	}
}

func TestWriterSendsOneWritePerFrame(t *testing.T) {
	var writes [][]byte
	writer := NewWriter(writerFunc(func(b []byte) (int, error) {
		writes = append(writes, bytes.Clone(b))
		return len(b), nil
	}))
	if err := writer.Send(Done, 9, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if len(writes) != 1 || !bytes.Equal(writes[0], encode(Done, 9, 2, "hi")) {
		t.Fatalf("wrote %q", writes)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func FuzzReader(f *testing.F) {
	f.Add(encode(Run, 1, 2, "{}"))
	f.Add(encode(Kill, 0xFFFFFFFF, 0xFFFFFFFF, ""))
	f.Add(append(encode(Sweep, 1, 0, ""), encode(Quit, 2, 0, "")...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		reader := NewReader(bytes.NewReader(stream))
		consumed := 0
		for {
			got, err := reader.Read()
			if err != nil {
				if err != io.EOF && !errors.Is(err, ErrMalformed) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			consumed += HeaderSize + len(got.Payload)
			again := encode(got.Kind, got.ID, uint32(len(got.Payload)), string(got.Payload))
			if consumed > len(stream) || !bytes.Equal(again, stream[consumed-len(again):consumed]) {
				t.Fatalf("read %+v, which is not what the stream says", got)
			}
		}
	})
}
