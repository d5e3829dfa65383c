// Package tools has as much of `tar` and `rm` as those need who bring files into a running container: Tilt, Skaffold,
// Compose, kubectl. They call them by name, and an image may have neither.
package tools

import (
	"fmt"
	"strings"
)

// option is one that a tool knows.
type option struct {
	short byte
	long  string
	value bool // it takes one
}

// given are a command's options, in their order, and the rest of its arguments.
type given struct {
	options []setting
	rest    []string
}

type setting struct {
	short byte
	value string
}

// parse reads arguments as getopt does: options may come after other arguments, until `--`.
func parse(known []option, arguments []string) (given, error) {
	var found given
	for i := 0; i < len(arguments); i++ {
		argument := arguments[i]
		next := func() (string, error) {
			if i++; i == len(arguments) {
				return "", fmt.Errorf("option requires an argument: %s", argument)
			}
			return arguments[i], nil
		}
		switch {
		case argument == "--":
			found.rest = append(found.rest, arguments[i+1:]...)
			return found, nil
		case strings.HasPrefix(argument, "--"):
			name, value, has := strings.Cut(argument[2:], "=")
			one, ok := find(known, func(o option) bool { return o.long == name })
			if !ok {
				return found, fmt.Errorf("unrecognized option: %s", argument)
			}
			var err error
			if one.value && !has {
				value, err = next()
			}
			if err != nil {
				return found, err
			}
			found.options = append(found.options, setting{one.short, value})
		case len(argument) > 1 && argument[0] == '-':
			if err := found.letters(known, argument[1:], next, true); err != nil {
				return found, err
			}
		default:
			found.rest = append(found.rest, argument)
		}
	}
	return found, nil
}

// letters reads options that stand together. With attached, what follows an option with a value is that value.
func (g *given) letters(known []option, letters string, next func() (string, error), attached bool) error {
	for j := 0; j < len(letters); j++ {
		one, ok := find(known, func(o option) bool { return o.short == letters[j] })
		if !ok {
			return fmt.Errorf("invalid option -- %c", letters[j])
		}
		value := ""
		if one.value {
			if attached && j+1 < len(letters) {
				value, j = letters[j+1:], len(letters)
			} else {
				var err error
				if value, err = next(); err != nil {
					return err
				}
			}
		}
		g.options = append(g.options, setting{one.short, value})
	}
	return nil
}

func find(known []option, meant func(option) bool) (option, bool) {
	for _, one := range known {
		if meant(one) {
			return one, true
		}
	}
	return option{}, false
}
