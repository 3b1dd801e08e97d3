// Command bench measures umbra capture beside tshark and beside reading the file, on one core and the same capture, which it
// makes. It prints requests a second, their ratios, and the most memory that umbra took. It needs Linux, bin/umbra and tshark.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	size := flag.Int64("mb", 1000, "the capture's size in MB")
	n := flag.Int("n", 3, "runs of umbra and of reading; tshark runs once")
	umbra := flag.String("umbra", "bin/umbra", "the umbra to measure")
	memory := flag.String("memory", "", "umbra's --memory")
	varied := flag.Bool("varied", false, "make the capture of many kinds of clients, heads, bodies and answers, on connections that come and go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *size*1e6, *n, *umbra, *memory, *varied); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, size int64, n int, umbra, memory string, varied bool) error {
	dir, err := os.MkdirTemp("", "umbra-capture-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "shop.pcap")
	requests, packets, err := makeCapture(file, size, varied)
	if err != nil {
		return err
	}
	fmt.Printf("capture: %d MB, %d packets, %d requests; each program on one core\n\n", size/1e6, packets, requests)
	args := []string{umbra, "capture", file, "-o", filepath.Join(dir, "shop.jsonl.zst")}
	if memory != "" {
		args = append(args, "--memory", memory)
	}
	read, err := repeat(ctx, n, []string{"cat", file})
	if err != nil {
		return err
	}
	ours, err := repeat(ctx, n, args)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %10s %14s %8s\n", "", "CPU s", "requests/s", "MB RSS")
	show := func(name string, runs []ran) {
		fmt.Printf("%-28s %10.2f %14.0f %8d   n = %d, %.2f … %.2f s\n", name, median(runs).cpu, float64(requests)/median(runs).cpu, median(runs).rss>>20, len(runs), runs[0].cpu, runs[len(runs)-1].cpu)
	}
	show("cat", read)
	show("umbra capture", ours)
	if _, err := exec.LookPath("tshark"); err != nil {
		fmt.Println("tshark is missing: apt-get install tshark")
		return nil
	}
	theirs, err := repeat(ctx, 1, []string{"tshark", "-n", "-r", file, "-Y", "http"})
	if err != nil {
		return err
	}
	show("tshark -Y http", theirs)
	fmt.Printf("\numbra does %.1f times tshark's requests a second, and takes %.1f times as long as reading the file\n", median(theirs).cpu/median(ours).cpu, median(ours).cpu/median(read).cpu)
	return nil
}

// ran is what a run took.
type ran struct {
	cpu float64 // seconds, user and system
	rss int64   // bytes, the most
}

func median(runs []ran) ran { return runs[len(runs)/2] }

// repeat runs a command n times on one core, and gives what it took, the least first.
func repeat(ctx context.Context, n int, args []string) ([]ran, error) {
	var out []ran
	for range n {
		c := exec.CommandContext(ctx, "taskset", append([]string{"-c", "0"}, args...)...)
		c.Stdout, c.Stderr = io.Discard, nil
		if err := c.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		used := c.ProcessState.SysUsage().(*syscall.Rusage)
		out = append(out, ran{(c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), used.Maxrss << 10})
	}
	slices.SortFunc(out, func(a, b ran) int { return int((a.cpu - b.cpu) * 1e6) })
	return out, nil
}
