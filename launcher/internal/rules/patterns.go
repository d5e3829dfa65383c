// Package rules has the sync rules of an image: which files of the running application mean what when they change.
package rules

import (
	"strings"
	"unicode/utf8"
)

const anyNames = "**"

// Matches reports whether pattern means path, which is relative, with `/`. `*` and `?` stay within a name, a name `**`
// stands for any number of names, so `public/**` means `public` too. tests/patterns.json is the table of cases for
// this and for packrunner/dev/patterns.py.
func Matches(pattern, path string) bool {
	names, parts := strings.Split(path, "/"), strings.Split(pattern, "/")
	return wild(len(parts), len(names), func(i int) bool { return parts[i] == anyNames }, func(i, j int) bool {
		return matchName(parts[i], names[j])
	})
}

func matchName(pattern, name string) bool {
	wanted, found := characters(pattern), characters(name)
	return wild(len(wanted), len(found), func(i int) bool { return wanted[i] == "*" }, func(i, j int) bool {
		return wanted[i] == "?" || wanted[i] == found[j]
	})
}

// wild matches a sequence of n things, some of which are stars, with one of m. When it fails, only the last star takes
// one thing more: an earlier one would leave less for what follows. So no pattern takes exponential time.
func wild(n, m int, star func(i int) bool, equal func(i, j int) bool) bool {
	i, j, lastStar, taken := 0, 0, -1, 0
	for j < m {
		switch {
		case i < n && star(i):
			lastStar, taken = i, j
			i++
		case i < n && equal(i, j):
			i++
			j++
		case lastStar >= 0:
			taken++
			i, j = lastStar+1, taken
		default:
			return false
		}
	}
	for i < n && star(i) {
		i++
	}
	return i == n
}

// characters splits a name; a byte that is not UTF-8 is one.
func characters(name string) []string {
	found := make([]string, 0, len(name))
	for len(name) > 0 {
		_, size := utf8.DecodeRuneInString(name)
		found = append(found, name[:size])
		name = name[size:]
	}
	return found
}

// mayMatchBelow reports whether pattern means anything in the directory, or may.
func mayMatchBelow(pattern, directory string) bool {
	names := strings.Split(directory, "/")
	for i, part := range strings.Split(pattern, "/") {
		switch {
		case part == anyNames:
			return true
		case i == len(names):
			return true
		case !matchName(part, names[i]):
			return false
		}
	}
	return false
}
