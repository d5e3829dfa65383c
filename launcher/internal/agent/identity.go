package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Identity is who the agent and everything it starts must be.
type Identity struct {
	UID, GID int  // -1 for whoever it is already
	Drop     bool // become that user for good: the agent was started as root
	Prepare  bool // set out what the host sends, as root, before that
}

// harden drops privileges and makes the agent's memory, descriptors and files unreachable for the commands.
func harden(identity Identity) error {
	unix.Umask(0o022)
	if identity.Drop {
		if err := drop(identity.UID, identity.GID); err != nil {
			return fmt.Errorf("cannot become %d:%d for good: %w", identity.UID, identity.GID, err)
		}
	}
	if err := check(identity); err != nil {
		return err
	}
	if err := noNewPrivileges(); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// Same-uid processes may otherwise read /proc/1/mem and open /proc/1/fd (SBX-26, SBX-27).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("PR_SET_CHILD_SUBREAPER: %w", err)
		}
	}
	shrugOff()
	return nil
}

func check(identity Identity) error {
	if identity.UID >= 0 && os.Getuid() != identity.UID {
		return fmt.Errorf("running as uid %d, not %d", os.Getuid(), identity.UID)
	}
	if identity.GID >= 0 && os.Getgid() != identity.GID {
		return fmt.Errorf("running as gid %d, not %d", os.Getgid(), identity.GID)
	}
	return nil
}

func noNewPrivileges() error {
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return nil // inherited, so every thread has it
	}
	return onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
}

func onAllThreads(trap, first, second uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(trap, first, second, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// drop gives up root in every thread: bounding set first, which needs CAP_SETPCAP, then groups, gid, uid, and what is
// left of the capability sets. Then it proves that there is no way back.
func drop(uid, gid int) error {
	if uid <= 0 || gid <= 0 {
		return errors.New("--drop needs --uid and --gid other than 0")
	}
	for capability := uintptr(0); ; capability++ {
		err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability)
		if errors.Is(err, unix.EINVAL) && capability > unix.CAP_SYS_ADMIN {
			break // beyond the kernel's last capability
		}
		if err != nil {
			return fmt.Errorf("bounding set, capability %d: %w", capability, err)
		}
	}
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return fmt.Errorf("ambient set: %w", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := onAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none))); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return verifyDropped(uid, gid)
}

// verifyDropped looks at every thread as the kernel shows it, and tries to go back.
func verifyDropped(uid, gid int) error {
	if unix.Setresuid(0, 0, 0) == nil || unix.Setresuid(-1, 0, -1) == nil || unix.Setresgid(-1, 0, -1) == nil {
		return errors.New("root could be taken back")
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	want := map[string]string{
		"Uid": strings.Repeat(fmt.Sprintf("%d ", uid), 4), "Gid": strings.Repeat(fmt.Sprintf("%d ", gid), 4), "Groups": "",
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		want[set] = "0000000000000000 "
	}
	for _, thread := range threads {
		status, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		if err := compareStatus(string(status), want); err != nil {
			return fmt.Errorf("thread %s: %w", thread.Name(), err)
		}
	}
	return nil
}

func compareStatus(status string, want map[string]string) error {
	seen := 0
	for line := range strings.SplitSeq(status, "\n") {
		name, value, _ := strings.Cut(line, ":")
		expected, relevant := want[name]
		if !relevant {
			continue
		}
		seen++
		if strings.Join(strings.Fields(value), " ") != strings.TrimSpace(expected) {
			return fmt.Errorf("%s is %q", name, value)
		}
	}
	if seen != len(want) {
		return errors.New("the kernel does not show its credentials")
	}
	return nil
}
