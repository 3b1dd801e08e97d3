//go:build unix

package node

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		name, script string
		settings     Settings
		want         error
		says         []string
	}{
		{"a name in use", `"ps -a"*) echo c0ffee ;;`, Settings{Name: "a"}, ErrExists, []string{"a; use it, delete it, or choose another name"}},
		{"a container that is no node", `"ps -a"*label=*) ;;
"ps -a"*name=a-control-plane*) echo "feed other-a-control-plane"; echo "c0ffee alias,a-control-plane" ;;`, Settings{Name: "a"}, ErrExists,
			[]string{"no kind node", "docker rm -f -v a-control-plane", "choose another name"}},
		{"a bad name", "", Settings{Name: "A b"}, ErrName, []string{`"A b"`}},
		{"a port in use", "", Settings{HostPort: l.Addr().(*net.TCPAddr).Port}, ErrPort, []string{"choose another"}},
		{"no port", "", Settings{HostPort: 70000}, ErrPort, []string{"70000"}},
		{"an unknown image", `"image inspect"*) exit 1 ;;
pull*) echo "pull access denied for x" >&2; exit 1 ;;`, Settings{Image: "x/y:z"}, ErrImage,
			[]string{"x/y:z", "pull access denied", "--node-image", "UMBRA_NODE_IMAGE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := fakeEngine(t, c.script)
			cluster, err := Create(t.Context(), c.settings, nil)
			wantError(t, err, c.want, c.says...)
			if cluster != nil {
				t.Error("a cluster was given, too")
			}
			if made := append(calls(t, state, "run"), calls(t, state, "rm -f")...); len(made) > 0 {
				t.Errorf("the engine was changed: %q", made)
			}
		})
	}
}

// nodeCases keep a node that "docker run" makes and "docker rm" takes away.
const nodeCases = `"ps -a"*network=* | "ps -a"*name=*) ;;
"ps -a"*) [ ! -e "$D/node" ] || echo c0ffee ;;
rm*) rm "$D/node" ;;
"inspect -f {{.State.Running}}"*) [ ! -e "$D/node" ] || echo true ;;
"inspect -f {{json .HostConfig.PortBindings}}"*) sed -n 's/.*--publish=127.0.0.1:\([0-9]*\):6443.*/{"6443\/tcp":[{"HostIp":"127.0.0.1","HostPort":"\1"}]}/p' "$D/node" ;;
exec*" /kind/umbra") echo "$*" > "$D/claimed" ;;
exec*"ctr version") ;;
`

func TestCreateCleansUpWhatFailed(t *testing.T) {
	state := fakeEngine(t, nodeCases+`run*) echo "$*" > "$D/node"; echo "Bind for 127.0.0.1:30080 failed: port is already allocated." >&2; exit 125 ;;`)
	_, err := Create(t.Context(), Settings{Name: "a"}, nil)
	wantError(t, err, ErrPort, "port is already allocated")
	wantGone(t, state)
}

func TestCreateInterruptedCleansUp(t *testing.T) {
	state := fakeEngine(t, nodeCases+`run*) echo "$*" > "$D/node"
	i=0; while [ -e "$D/node" ] && [ $i -lt 300 ]; do i=$((i+1)); sleep 0.1; done; exit 1 ;;`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Create(ctx, Settings{Name: "a"}, func(*Cluster) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if claim, err := os.ReadFile(filepath.Join(state, "claimed")); err != nil || !strings.HasSuffix(string(claim), "sh feed /kind/umbra\n") {
		t.Errorf("the network that was made was not noted in the node: %q, %v", claim, err)
	}
	wantGone(t, state)
}

// wantGone wants neither the node, nor the network that was made for it, nor a temporary file.
func wantGone(t *testing.T, state string) {
	t.Helper()
	for _, name := range []string{"node", "network"} {
		if _, err := os.Stat(filepath.Join(state, name)); err == nil {
			t.Errorf("the %s is still there", name)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestCreateLeavesAnothersCluster(t *testing.T) {
	// The other program's node shows after admit has looked, so it is kind that finds it.
	state := fakeEngine(t, `"ps -a"*name=*) ;;
"ps -a"*) [ ! -e "$D/looked" ] || echo a-control-plane; touch "$D/looked" ;;`)
	_, err := Create(t.Context(), Settings{Name: "a"}, nil)
	wantError(t, err, ErrExists)
	wantUntouched(t, state)
}

// another is a node of the same name that another program makes just before "docker run".
const another = nodeCases + `run*) echo "--publish=127.0.0.1:1:6443/TCP" > "$D/node"
`

func TestCreateLeavesAnothersNodeOnConflict(t *testing.T) {
	state := fakeEngine(t, another+`echo 'Conflict. The container name "/a-control-plane" is already in use by container "c0ffee".' >&2; exit 125 ;;`)
	_, err := Create(t.Context(), Settings{Name: "a"}, nil)
	wantError(t, err, ErrExists)
	wantUntouched(t, state)
	if _, err := os.Stat(filepath.Join(state, "network")); err == nil {
		t.Error("the network that kind made is still there")
	}
}

// Interrupted while kind is at work and another's node runs.
func TestCreateInterruptedLeavesAnothersNode(t *testing.T) {
	state := fakeEngine(t, another+`touch "$D/running"
	i=0; while [ ! -e "$D/over" ] && [ $i -lt 300 ]; do i=$((i+1)); sleep 0.1; done; exit 1 ;;`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for range 300 {
			if _, err := os.Stat(filepath.Join(state, "running")); err == nil || pause(ctx) != nil {
				break
			}
		}
		cancel()
		// kind's command ends after it was looked whose the node is
		for looks := 0; looks < 2 && pause(context.Background()) == nil; {
			looks = len(calls(t, state, "PortBindings"))
		}
		if err := os.WriteFile(filepath.Join(state, "over"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}()
	if _, err := Create(ctx, Settings{Name: "a"}, func(*Cluster) { t.Error("another's node was taken for ours") }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	wantUntouched(t, state)
}

// wantUntouched wants that another's node was neither removed nor claimed.
func wantUntouched(t *testing.T, state string) {
	t.Helper()
	if touched := append(calls(t, state, "rm -f"), calls(t, state, "/kind/umbra")...); len(touched) > 0 {
		t.Errorf("another's node was touched: %q", touched)
	}
}

func TestPublishes(t *testing.T) {
	for bindings, want := range map[string]bool{
		`{"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"41234"}]}`:                                    true,
		`{"30080/tcp":[{"HostPort":"41234"}],"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"41235"}]}`: false,
		`null`: false, `{}`: false, ``: false,
	} {
		if got := publishes(bindings, 41234); got != want {
			t.Errorf("publishes(%s) = %v, want %v", bindings, got, want)
		}
	}
}

func TestOurs(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want, fails  bool
	}{
		{"made by umbra with its network", `cp*":/kind/umbra -") printf feed > "$D/umbra"; tar -C "$D" -cf - umbra ;;`, true, false},
		{"made by umbra", `cp*":/kind/umbra -") : > "$D/umbra"; tar -C "$D" -cf - umbra ;;`, true, false},
		{"made by kind", `cp*) echo "Could not find the file /kind/umbra in container a-control-plane" >&2; exit 1 ;;`, false, false},
		{"gone", `cp*) echo "Error response from daemon: No such container: a-control-plane" >&2; exit 1 ;;`, false, false},
		{"not told", `cp*) echo "permission denied" >&2; exit 1 ;;`, false, true},
		{"no archive", `cp*) echo "x" ;;`, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeEngine(t, c.script+"\n"+`"ps -a"*) echo c0ffee ;;`)
			cluster, err := Find(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := cluster.Ours(t.Context()); got != c.want || (err != nil) != c.fails {
				t.Errorf("Ours = %v, %v; want %v, fails %v", got, err, c.want, c.fails)
			}
		})
	}
}

func TestDeleteTellsThatTheNetworkIsUnknown(t *testing.T) {
	state := fakeEngine(t, `cp*) echo "input/output error" >&2; exit 1 ;;
`+nodeCases)
	if err := os.WriteFile(filepath.Join(state, "node"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Find(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context()); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("error %v, want why the claim could not be read", err)
	}
	if _, err := os.Stat(filepath.Join(state, "node")); err == nil {
		t.Error("the node is still there")
	}
}

func TestDelete(t *testing.T) {
	const claims = `cp*":/kind/umbra -") printf feed > "$D/umbra"; tar -C "$D" -cf - umbra ;;
`
	for _, c := range []struct {
		name, script string
		network      bool // is still there afterwards
	}{
		{"with its network", claims, false},
		{"the network is another's", `cp*) echo "no such file" >&2; exit 1 ;;
`, true},
		{"the network is used", claims + `"ps -a"*network=*) echo beef ;;
`, true},
		{"the network was made again", strings.ReplaceAll(claims, "feed", "dead"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := fakeEngine(t, c.script+nodeCases)
			for _, name := range []string{"node", "network"} {
				if err := os.WriteFile(filepath.Join(state, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cluster, err := Find(t.Context(), "a")
			if err != nil || cluster == nil {
				t.Fatal(cluster, err)
			}
			if err := cluster.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(state, "node")); err == nil {
				t.Error("the node is still there")
			}
			if _, err := os.Stat(filepath.Join(state, "network")); (err == nil) != c.network {
				t.Errorf("network left: %v, want %v", err == nil, c.network)
			}
		})
	}
}

func TestDeleteTellsWhatItCannot(t *testing.T) {
	fakeEngine(t, `"ps -a"*) echo c0ffee ;;
rm*) echo "device or resource busy" >&2; exit 1 ;;`)
	c, err := Find(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	err = c.Delete(t.Context())
	if err == nil || !strings.Contains(err.Error(), "docker rm -f -v a-control-plane") || !strings.Contains(err.Error(), "busy") {
		t.Errorf("error %v, want the command that removes the node, and why it was not", err)
	}
}

func TestFindNone(t *testing.T) {
	fakeEngine(t, "")
	if c, err := Find(t.Context(), "a"); c != nil || err != nil {
		t.Errorf("Find = %v, %v; want nil, nil", c, err)
	}
}

func TestMapped(t *testing.T) {
	for _, c := range []struct {
		name, table string
		port        int32
		want        string // "" for an error
	}{
		{"docker", "30080/tcp -> 127.0.0.1:31234\n6443/tcp -> 127.0.0.1:34711\n", 30080, "127.0.0.1:31234"},
		{"on all addresses", "30080/tcp -> 0.0.0.0:80\n30080/tcp -> [::]:80\n", 30080, "127.0.0.1:80"},
		{"another node port", "6443/tcp -> 127.0.0.1:1\n31000/tcp -> 127.0.0.1:2\n", 30080, "127.0.0.1:2"},
		{"several others", "31000/tcp -> 127.0.0.1:2\n31001/tcp -> 127.0.0.1:3\n", 30080, ""},
		{"only the API server", "6443/tcp -> 127.0.0.1:1\n", 30080, ""},
		{"other protocol", "30080/udp -> 127.0.0.1:1\n", 30080, ""},
		{"nothing", "", 30080, ""},
		{"broken", "30080/tcp -> here\n", 30080, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := mapped(c.table, c.port)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("mapped = %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func FuzzMapped(f *testing.F) {
	f.Add("30080/tcp -> 127.0.0.1:31234\n6443/tcp -> 127.0.0.1:34711\n")
	f.Add("30080/tcp -> [::]:1\n -> \n/ -> :\n")
	f.Fuzz(func(t *testing.T, table string) {
		address, err := mapped(table, 30080)
		if err == nil {
			if _, _, err := net.SplitHostPort(address); err != nil {
				t.Errorf("mapped(%q) = %q: %v", table, address, err)
			}
		}
	})
}

func TestUntagged(t *testing.T) {
	for image, want := range map[string]string{
		"a/b:v1":                  "a/b:v1",
		"a/b:v1@sha256:1":         "a/b@sha256:1",
		"a/b@sha256:1":            "a/b@sha256:1",
		"host:5000/a/b@sha256:1":  "host:5000/a/b@sha256:1",
		"host:5000/b:v1@sha256:1": "host:5000/b@sha256:1",
	} {
		if got := untagged(image); got != want {
			t.Errorf("untagged(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestSteps(t *testing.T) {
	var got []string
	l := stepLogger{func(format string, args ...any) { got = append(got, args[0].(string)) }}
	l.V(0).Infof(" • %s  ...\n", "Preparing nodes 📦 ")
	l.V(0).Infof(" ✓ %s\n", "Preparing nodes 📦 ")
	l.V(0).Info("")
	l.V(1).Info("a detail")
	l.V(0).Infof(" ✗ %s\n", "Starting control-plane 🕹️")
	want := "Preparing nodes|✗ Starting control-plane"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("steps %q, want %q", s, want)
	}
}
