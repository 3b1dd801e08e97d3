//go:build unix

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeEngine puts a docker on the PATH that is a shell script of cases, one for each of its commands, over those of a
// docker that works and has nothing. $D is a folder for its state; what was called stands in $D/calls.
func fakeEngine(t *testing.T, cases string) (state string) {
	t.Helper()
	state, bin := t.TempDir(), t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
D='%s'
echo "$*" >> "$D/calls"
case "$*" in
%s
-v) echo "Docker version 28.0.0, build fake" ;;
info*json*) echo '{"CgroupVersion":"2","MemoryLimit":true,"PidsLimit":true,"CPUShares":true}' ;;
info*) echo "Server Version: 28.0.0" ;;
"image inspect"*) echo sha256:aa ;;
"network ls"*kind*--format*"{{.ID}} {{.Name}}") [ ! -e "$D/network" ] || echo "feed kind"; echo "f00d notkind" ;;
"network create"*) touch "$D/network" ;;
"network rm"*) rm "$D/network" ;;
esac
`, state, cases)
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "docker")
	t.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", "")
	t.Setenv("TMPDIR", t.TempDir())
	return state
}

// calls are the fake engine's that contain a text.
func calls(t *testing.T, state, text string) (found []string) {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(state, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestNoEngine(t *testing.T) {
	t.Run("none installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "")
		wantError(t, findError(t), ErrNoEngine, "none of docker, podman and nerdctl")
	})
	t.Run("the named one is not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
		wantError(t, findError(t), ErrNoEngine, "podman is not on the PATH")
	})
	t.Run("an unknown one is named", func(t *testing.T) {
		t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "lxc")
		wantError(t, findError(t), ErrNoEngine, "KIND_EXPERIMENTAL_PROVIDER=lxc")
	})
	t.Run("the daemon does not run", func(t *testing.T) {
		fakeEngine(t, `info*) echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2; exit 1 ;;`)
		wantError(t, findError(t), ErrNoEngine, "installed but does not answer", "Cannot connect")
	})
}

func findError(t *testing.T) error {
	t.Helper()
	c, err := Find(t.Context(), "any")
	if c != nil {
		t.Fatalf("Find gave a cluster: %v", c)
	}
	return err
}

// wantError wants an error that wraps another and says what is wrong in words.
func wantError(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error %v, want one that wraps %q", err, is)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestEngineDetected(t *testing.T) {
	fakeEngine(t, `info) echo " driver-type: io.containerd.snapshotter.v1" ;;`)
	t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "")
	e, err := findEngine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e.name != "docker" || !e.snapshotted {
		t.Errorf("engine %+v, want docker with images kept by containerd", e)
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       error
	}{
		{"port of docker", "Bind for 127.0.0.1:30080 failed: port is already allocated.", ErrPort},
		{"port of the kernel", "listen tcp4 127.0.0.1:30080: bind: address already in use", ErrPort},
		{"disk", "write /var/lib/x: No space left on device", ErrSpace},
		{"name of a container", `Conflict. The container name "/a" is already in use by container "b".`, ErrExists},
		{"kind's own check", `node(s) already exist for a cluster with the name "a"`, ErrExists},
		{"daemon went away", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", ErrNoEngine},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain := errors.New("exit status 1")
			wantError(t, classify(c.said, plain), c.want)
			wantError(t, classify(c.said, plain), plain)
		})
	}
	if err := errors.New("other"); classify("something else", err) != err {
		t.Error("an error of no known kind was changed")
	}
}

func TestTail(t *testing.T) {
	for said, want := range map[string]string{
		" \n":                         "",
		"one\n":                       ": one",
		"1\n2":                        ":\n  1\n  2",
		"0\n1\n2\n3\n4\n5\n6\n7\n8\n": ":\n  3\n  4\n  5\n  6\n  7\n  8",
	} {
		if got := tail(said); got != want {
			t.Errorf("tail(%q) = %q, want %q", said, got, want)
		}
	}
}

func TestPull(t *testing.T) {
	const hang = `sleep 60 ;;`
	for _, c := range []struct {
		name, script string
		find, all    time.Duration
		want         string // in the error; "" for none
	}{
		{"there", `echo "v1: Pulling from a/b" ;;`, time.Minute, time.Minute, ""},
		{"unknown", `echo "Error response from daemon: manifest unknown" >&2; exit 1 ;;`, time.Minute, time.Minute, "manifest unknown"},
		{"silent registry", hang, 50 * time.Millisecond, time.Minute, "no registry answered within 50ms"},
		{"only the client spoke", `echo "Using default tag: latest"; ` + hang, 200 * time.Millisecond, time.Minute, "no registry answered"},
		{"stalled", `echo "v1: Pulling from a/b"; ` + hang, time.Minute, 300 * time.Millisecond, "not pulled within 300ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeEngine(t, "pull*) "+c.script)
			err := (&engine{name: "docker"}).pull(t.Context(), "a/b:v1", c.find, c.all)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestCommandEndsWithItsContext(t *testing.T) {
	fakeEngine(t, `hang*) echo up > "$D/up"; sleep 60 & wait ;;`)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, err := (&engine{name: "docker"}).output(ctx, time.Minute, "hang"); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}
