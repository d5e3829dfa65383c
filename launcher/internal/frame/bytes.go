package frame

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bytes is a string of the operating system in JSON. Bytes that are not UTF-8 travel as Python's surrogateescape
// writes them: byte 0x80+n as the lone surrogate \udc80+n. So every argument and variable arrives byte for byte.
type Bytes string

var errNotString = errors.New("expected a string")

// UnmarshalJSON implements json.Unmarshaler; raw is one valid JSON value.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	if len(raw) < 2 || raw[0] != '"' {
		return errNotString
	}
	*b = Bytes(unescape(raw[1 : len(raw)-1]))
	return nil
}

var plainEscapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape resolves the escapes of a JSON string that the decoder has found valid.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			out = append(out, text[i])
			i++
			continue
		}
		code, isRune := escapedRune(text[i:])
		if !isRune {
			plain, found := plainEscapes[text[i+1]]
			if !found {
				plain = text[i+1] // a quote, slash or backslash stands for itself
			}
			out = append(out, plain)
			i += 2
			continue
		}
		i += 6
		low, _ := escapedRune(text[i:])
		switch pair := utf16.DecodeRune(code, low); {
		case pair != utf8.RuneError:
			out = utf8.AppendRune(out, pair)
			i += 6
		case code >= 0xDC80 && code <= 0xDCFF:
			out = append(out, byte(code&0xFF))
		default:
			out = utf8.AppendRune(out, code) // another lone surrogate becomes U+FFFD
		}
	}
	return out
}

// escapedRune reads \uXXXX at the start of text.
func escapedRune(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(code), err == nil
}

// Strings converts to plain strings.
func Strings(list []Bytes) []string {
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = string(item)
	}
	return out
}
