//go:build !linux

// Command bench compares umbra with its peers; see README.md. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it pins processes to cores and reads /proc, so it runs on Linux only")
	os.Exit(2)
}
