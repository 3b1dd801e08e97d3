//go:build unix

package node

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a command's processes into a group of their own, and ends all of them with the command's context.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
