//go:build linux || darwin

package replay

import "golang.org/x/sys/unix"

// freeSpace is what a user may still write to the file system of dir, in bytes.
func freeSpace(dir string) (free uint64, known bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	return uint64(max(0, int64(s.Bavail))) * uint64(s.Bsize), true, nil
}

// descriptors is how many files the process may have open; 0 where there is no limit.
func descriptors() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur == unix.RLIM_INFINITY {
		return 0
	}
	return uint64(l.Cur)
}
