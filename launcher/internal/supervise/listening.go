package supervise

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

const stateListen = "0A"

// listening reports whether somebody listens on a TCP port. A port of 0 is none.
func listening(port uint16) bool {
	return port != 0 && (listed("/proc/net/tcp", port) || listed("/proc/net/tcp6", port))
}

// listed looks for lines such as `0: 0100007F:1F90 00000000:0000 0A ...`.
func listed(path string, port uint16) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if found, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(found) == port {
			return true
		}
	}
	return false
}

// ownPort is $PORT, or 0.
func ownPort() uint16 {
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}
