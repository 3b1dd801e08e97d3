//go:build unix

package node

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests of this file make clusters on a real engine, one after the other.

const (
	testCluster = "umbra-node-test"
	testNetwork = "umbra-node-test-net"
)

// asProgram makes this test binary a program that creates a cluster until it is interrupted, as a command would be.
const asProgram = "UMBRA_NODE_TEST_CREATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(createUntilInterrupted())
	}
	os.Exit(m.Run())
}

func createUntilInterrupted() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	_, err := Create(ctx, testSettings(func(format string, args ...any) { fmt.Printf(format+"\n", args...) }), nil)
	fmt.Println("ended:", err)
	if errors.Is(err, context.Canceled) {
		return 130
	}
	return 1
}

func testSettings(log func(string, ...any)) Settings {
	return Settings{Name: testCluster, Image: os.Getenv("UMBRA_NODE_IMAGE"), Log: log}
}

// realEngine skips where no engine is to be used. The tests' cluster has a network of its own, which it makes, and
// folders of its own for temporary files and for the user's.
func realEngine(t *testing.T) *engine {
	t.Helper()
	if os.Getenv("UMBRA_E2E") != "1" {
		t.Skip("it makes a kind cluster: set UMBRA_E2E=1 where a container engine runs")
	}
	e, err := findEngine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", testNetwork)
	t.Setenv("KIND_EXPERIMENTAL_PODMAN_NETWORK", testNetwork)
	if os.Getenv("DOCKER_CONFIG") == "" { // the engine's address may stand there
		t.Setenv("DOCKER_CONFIG", filepath.Join(os.Getenv("HOME"), ".docker"))
	}
	for _, folder := range []string{"TMPDIR", "HOME"} {
		t.Setenv(folder, t.TempDir())
	}
	t.Cleanup(func() {
		if c := newCluster(e, testSettings(nil).withDefaults()); c.remove(context.Background(), 1) != nil {
			t.Errorf("the node %s could not be removed", c.node())
		}
	})
	return e
}

// trace is what a cluster could leave on this machine.
type trace struct {
	containers, networks, volumes, files []string
}

// look lists the tests' own containers and networks, volumes that no container uses, and the files in the folders for
// temporary files and of the user. Others may use the engine at the same time.
func look(t *testing.T, e *engine) (found trace) {
	t.Helper()
	list := func(args ...string) []string {
		lines, err := e.lines(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		return lines
	}
	found.containers = list("ps", "-a", "-q", "--filter", "name="+testCluster)
	found.networks = list("network", "ls", "-q", "--filter", "name="+testNetwork)
	found.volumes = list("volume", "ls", "-q", "--filter", "dangling=true")
	for _, folder := range []string{os.Getenv("TMPDIR"), os.Getenv("HOME")} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			found.files = append(found.files, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func wantNoTrace(t *testing.T, e *engine, before trace) {
	t.Helper()
	after := look(t, e)
	for _, c := range []struct {
		what          string
		before, after []string
	}{
		{"containers", before.containers, after.containers},
		{"networks", before.networks, after.networks},
		{"volumes", before.volumes, after.volumes},
		{"files", before.files, after.files},
	} {
		for _, name := range c.after {
			if !slices.Contains(c.before, name) {
				t.Errorf("%s: %s was left", c.what, name)
			}
		}
	}
}

// stepLog prints each step with its time since the start, and calls at when the step begins.
func stepLog(t *testing.T, at string, reached func()) func(string, ...any) {
	begin := time.Now()
	return func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		t.Logf("%6.2f s %s", time.Since(begin).Seconds(), line)
		if at != "" && strings.HasPrefix(line, at) {
			reached()
		}
	}
}

func TestLifeOfACluster(t *testing.T) {
	e := realEngine(t)
	log := stepLog(t, "", nil)
	binary := program(t, hostMachine(), elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD)
	before := look(t, e)
	var loaded error
	c, err := Create(t.Context(), testSettings(log), func(c *Cluster) {
		log("takes images")
		loaded = loadApp(t.Context(), c, binary)
		log("the app's image is there")
	})
	if err != nil || loaded != nil {
		t.Fatal(err, loaded)
	}
	log("created")
	wantUsable(t, c, binary)
	if _, err := Create(t.Context(), testSettings(log), nil); !errors.Is(err, ErrExists) {
		t.Errorf("a second one of its name: %v, want %v", err, ErrExists)
	}
	log("looked at")
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	log("deleted")
	wantNoTrace(t, e, before)
	if c, err := Find(t.Context(), testCluster); c != nil || err != nil {
		t.Errorf("Find after Delete = %v, %v", c, err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
}

func hostMachine() elf.Machine {
	for machine, arch := range machines {
		if arch == runtime.GOARCH {
			return machine
		}
	}
	return elf.EM_NONE
}

func loadApp(ctx context.Context, c *Cluster, binary string) error {
	r, w := io.Pipe()
	go func() {
		_, err := AppImage(binary, w)
		w.CloseWithError(err)
	}()
	defer r.Close()
	return c.Load(ctx, r)
}

func wantUsable(t *testing.T, c *Cluster, binary string) {
	t.Helper()
	tag, err := AppTag(binary)
	if err != nil {
		t.Fatal(err)
	}
	if has, err := c.Has(t.Context(), tag); !has || err != nil {
		t.Errorf("Has(%s) = %v, %v after it was loaded", tag, has, err)
	}
	found, err := Find(t.Context(), c.Name())
	if err != nil || found == nil {
		t.Fatal("Find:", found, err)
	}
	config, err := found.Kubeconfig(t.Context())
	if err != nil || !bytes.Contains(config, []byte("server: https://127.0.0.1:")) {
		t.Errorf("kubeconfig of %d bytes, %v", len(config), err)
	}
	address, err := found.Address(t.Context())
	if host, _, _ := net.SplitHostPort(address); host != "127.0.0.1" || err != nil {
		t.Errorf("address %q, %v", address, err)
	}
	if out, err := c.inside(t.Context(), quick, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "--raw", "/readyz"); out != "ok" {
		t.Errorf("the API server's /readyz: %q, %v", out, err)
	}
	if err := c.LoadFromEngine(t.Context(), "umbra-node-test:none"); err == nil || !strings.Contains(err.Error(), "umbra-node-test:none") {
		t.Errorf("an image that the engine has not: %v", err)
	}
}

func TestInterruptedCreateLeavesNothing(t *testing.T) {
	e := realEngine(t)
	for _, step := range []string{"Preparing nodes", "Starting control-plane", "takes images"} {
		t.Run(step, func(t *testing.T) {
			before := look(t, e)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			log := stepLog(t, step, cancel)
			if _, err := Create(ctx, testSettings(log), func(*Cluster) { log("takes images") }); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want the context's", err)
			}
			log("gone")
			wantNoTrace(t, e, before)
		})
	}
}

// An interrupt at the terminal reaches kind's commands too, and some interrupt twice.
func TestInterruptAtTheTerminalLeavesNothing(t *testing.T) {
	e := realEngine(t)
	before := look(t, e)
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), asProgram+"=1")
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	interrupt := func() {
		if err := syscall.Kill(-program.Process.Pid, syscall.SIGINT); err != nil && err != syscall.ESRCH {
			t.Error(err)
		}
	}
	said := readUntil(t, out, "Starting control-plane")
	interrupt()
	defer time.AfterFunc(200*time.Millisecond, interrupt).Stop() // while it cleans up
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Error(err)
	}
	if err := program.Wait(); program.ProcessState.ExitCode() != 130 {
		t.Errorf("%v, want status 130; it said %s%s", err, said, rest)
	}
	wantNoTrace(t, e, before)
}

func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var said strings.Builder
	for p := make([]byte, 1024); !strings.Contains(said.String(), text); {
		n, err := r.Read(p)
		said.Write(p[:n])
		if err != nil {
			t.Fatalf("%v before %q; it said %s", err, text, said.String())
		}
	}
	return said.String()
}

func TestWrongSettingsOnARealEngine(t *testing.T) {
	e := realEngine(t)
	before := look(t, e)
	s := testSettings(t.Logf)
	s.Image = "umbra.invalid/no/such:image"
	begin := time.Now()
	_, err := Create(t.Context(), s, nil)
	wantError(t, err, ErrImage, s.Image, "UMBRA_NODE_IMAGE")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("told after %s, want within 30 s", took)
	}
	wantNoTrace(t, e, before)
}
