package app

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// dirOfApp has the test's binary be an app that keeps its receipts there, until it is killed.
const dirOfApp = "APP_TEST_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(dirOfApp)
	if dir == "" {
		os.Exit(m.Run())
	}
	a, err := Start(context.Background(), Config{Version: "v1", Pod: "shop-v1-0", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", ReceiptsDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(a.Addr())
	<-time.After(2 * patience) // its parent kills it long before
	os.Exit(1)
}

// process is an app in a process of its own.
func process(t *testing.T, dir string) (address string, kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env, c.Stderr = append(os.Environ(), dirOfApp+"="+dir), os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			c.Process.Kill()
			c.Wait() // its error is the kill
		}
	}
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the app gave no address: %v", lines.Err())
	}
	return lines.Text(), kill
}

// A process that is killed, twice, leaves to its successor what it had written.
func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	for i := 1; i <= 2; i++ {
		address, kill := process(t, dir)
		c := client(t, false)
		if _, _, err := send(c, &App{addr: address}, "GET", "/", fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
		awaitKeptIn(t, filepath.Join(dir, keptName(i)), 1)
		kill()
	}
	a := startIn(t, dir)
	wantIDs(t, a, "1", "2")
	if s := statusOf(t, a); s.Incarnation != 3 || s.Earlier != 2 || s.Cut != 2 {
		t.Errorf("status %+v", s)
	}
}
