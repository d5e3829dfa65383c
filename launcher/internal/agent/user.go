package agent

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// User prints the uid, gid and home that `name[:group]` has in this sandbox, each in a line.
func User(spec string) int {
	name, group, given := strings.Cut(spec, ":")
	row := lookUp("/etc/passwd", name, 7)
	uid, err := number(name, row, 2)
	if err != nil {
		return complain(1, "there is no user %q in the image", name)
	}
	gid, home := 0, "/"
	if uid == 0 {
		home = "/root"
	}
	if row != nil {
		home = row[5]
		gid, _ = strconv.Atoi(row[3])
	}
	if given {
		if gid, err = number(group, lookUp("/etc/group", group, 4), 2); err != nil {
			return complain(1, "there is no group %q in the image", group)
		}
	}
	fmt.Printf("%d\n%d\n%s\n", uid, gid, home)
	return 0
}

// number is what a text says itself, or else a row that was found for it.
func number(text string, row []string, field int) (int, error) {
	if value, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(value), nil
	}
	if row == nil {
		return 0, strconv.ErrSyntax
	}
	value, err := strconv.ParseUint(row[field], 10, 31)
	return int(value), err
}

func lookUp(path, name string, fields int) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		row := strings.Split(lines.Text(), ":")
		if len(row) == fields && (row[0] == name || row[2] == name) {
			return row
		}
	}
	return nil
}
