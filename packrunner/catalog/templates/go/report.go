package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// failure is what a user can do something about.
type failure struct{ brief, at, try string }

func (f failure) Error() string { return f.brief }

// tell says what went wrong; the exit code. packrunner makes a directory and shows what is written there, on other
// platforms it is printed.
func tell(err error) int {
	var known failure
	if !errors.As(err, &known) {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	text := fmt.Sprintf("brief = %q\nat = %q\ntry = [%q]\n", known.brief, known.at, known.try)
	if !write("failure.toml", text) {
		fmt.Printf("error: %s\n  at:  %s\n  try: %s\n", known.brief, known.at, known.try)
	}
	return 1
}

// report says what became of the layer.
func report(detail string) {
	text := fmt.Sprintf("step = %q\n\n[[layers]]\nname = %q\ndetail = %q\n", "hello: greet", "greeter", detail)
	if !write("report.toml", text) {
		fmt.Println("greeter", detail)
	}
}

func write(name, text string) bool {
	directory := filepath.Join(os.Getenv("CNB_LAYERS_DIR"), ".packrunner")
	return os.WriteFile(filepath.Join(directory, name), []byte(text), 0o644) == nil
}
