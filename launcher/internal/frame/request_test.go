package frame

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestParseRun(t *testing.T) {
	got, err := ParseRun([]byte(`{"argv":["/bin/a","b c"],"env":["A=1","B="],"cwd":"/w","timeout_ms":1500}`))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(Strings(got.Argv), []string{"/bin/a", "b c"}) || !slices.Equal(Strings(got.Env), []string{"A=1", "B="}) ||
		got.Cwd != "/w" || got.TimeoutMS != 1500 {
		t.Fatalf("got %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, payload := range map[string]string{
		"nothing":           ``,
		"no object":         `[]`,
		"no argv":           `{"argv":[],"env":[],"cwd":"/","timeout_ms":0}`,
		"number in argv":    `{"argv":[1],"env":[],"cwd":"/","timeout_ms":0}`,
		"null in env":       `{"argv":["/a"],"env":[null],"cwd":"/","timeout_ms":0}`,
		"no equals sign":    `{"argv":["/a"],"env":["A"],"cwd":"/","timeout_ms":0}`,
		"empty name":        `{"argv":["/a"],"env":["=1"],"cwd":"/","timeout_ms":0}`,
		"negative limit":    `{"argv":["/a"],"env":[],"cwd":"/","timeout_ms":-1}`,
		"limit overflows":   `{"argv":["/a"],"env":[],"cwd":"/","timeout_ms":9223372036854775807}`,
		"unknown field":     `{"argv":["/a"],"env":[],"cwd":"/","timeout_ms":0,"uid":0}`,
		"two values":        `{"argv":["/a"],"env":[],"cwd":"/","timeout_ms":0}{}`,
		"trailing bracket":  `{"argv":["/a"],"env":[],"cwd":"/","timeout_ms":0}]`,
		"cut inside string": `{"argv":["/a`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseRun([]byte(payload)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %+v, %v; want ErrMalformed", got, err)
			}
		})
	}
	for _, payload := range []string{`{"signal":0}`, `{"signal":65}`, `{"signal":"TERM"}`, `{}`} {
		if _, err := ParseKill([]byte(payload)); !errors.Is(err, ErrMalformed) {
			t.Errorf("kill %s: %v, want ErrMalformed", payload, err)
		}
	}
}

func TestBytesOfPythonStrings(t *testing.T) {
	for text, want := range map[string]string{
		`"plain"`:                    "plain",
		`"q\"b\\s\/\b\f\n\r\t"`:      "q\"b\\s/\b\f\n\r\t",
		`"\u00e9\u20ac"`:             "é€",
		`"\ud83d\ude00"`:             "😀",
		`"é"`:                        "é",
		`"\udcff\udc80a"`:            "\xff\x80a",
		`"\\udc80"`:                  `\udc80`,
		`"\ud800x"`:                  "\uFFFDx",
		`"\ud83d\udcff"`:             string(rune(0x1F4FF)), // a pair, although its low half looks like a byte
		"\"raw \xff byte\"":          "raw \xff byte",
		`"\udcc3\udca9 is not an é"`: "é is not an é",
	} {
		var got Bytes
		if err := json.Unmarshal([]byte(text), &got); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzParseRun(f *testing.F) {
	f.Add([]byte(`{"argv":["/bin/a","\udcff"],"env":["A=1"],"cwd":"/w","timeout_ms":1}`))
	f.Add([]byte(`{"argv":["\ud83d\ude00\\"],"env":[],"cwd":"","timeout_ms":0}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := ParseRun(payload)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if len(got.Argv) == 0 || got.TimeoutMS < 0 {
			t.Fatalf("accepted %+v", got)
		}
		total := 0
		for _, text := range slices.Concat(got.Argv, got.Env, []Bytes{got.Cwd}) {
			total += len(text)
		}
		if total > len(payload) {
			t.Fatalf("%d bytes came out of %d", total, len(payload))
		}
	})
}

func FuzzBytes(f *testing.F) {
	f.Add("a\\\"b")
	f.Add("\x00é😀")
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		var got Bytes
		if json.Unmarshal(encoded, &want) != nil || json.Unmarshal(encoded, &got) != nil || string(got) != want {
			t.Fatalf("%s: got %q, want %q", encoded, got, want)
		}
	})
}
