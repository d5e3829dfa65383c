package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	program = "#!/bin/sh\necho \"$GREETING\"\n"
	launch  = "[[processes]]\ntype = \"hello\"\ncommand = [\"greet\"]\ndefault = true\n"
)

// build makes one cached layer with a program that greets, and a process that runs it. It works in the application's
// directory.
func build() error {
	text, err := os.ReadFile("hello.txt")
	if err != nil {
		return err
	}
	greeting := strings.TrimSpace(string(text))
	if greeting == "" {
		return failure{brief: "found no greeting", at: "hello.txt:1", try: "write a line into hello.txt"}
	}
	layers := os.Getenv("CNB_LAYERS_DIR")
	layer := filepath.Join(layers, "greeter")
	key := fmt.Sprintf("hello = \"%x\"", sha256.Sum256([]byte(greeting)))
	detail := "reused (hello.txt unchanged)"
	// The last build's layer stays as long as what it was made from is the same.
	if !stays(layer, key) {
		detail = "new: a program that greets (hello.txt)"
		if err := fill(layer, greeting); err != nil {
			return err
		}
	}
	types := "[types]\nlaunch = true\ncache = true\n\n[metadata]\n" + key + "\n"
	if err := os.WriteFile(layer+".toml", []byte(types), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(layers, "launch.toml"), []byte(launch), 0o644); err != nil {
		return err
	}
	report(detail)
	return nil
}

func stays(layer, key string) bool {
	metadata, err := os.ReadFile(layer + ".toml")
	if err != nil || !strings.Contains(string(metadata), key) {
		return false
	}
	_, err = os.Stat(layer)
	return err == nil
}

func fill(layer, greeting string) error {
	if err := os.RemoveAll(layer); err != nil {
		return err
	}
	files := []struct {
		name, text string
		mode       os.FileMode
	}{
		{"bin/greet", program, 0o755},
		{"env.launch/GREETING.override", greeting, 0o644},
	}
	for _, file := range files {
		path := filepath.Join(layer, file.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			return err
		}
	}
	return nil
}
