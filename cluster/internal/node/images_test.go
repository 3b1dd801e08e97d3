//go:build unix

package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imageCases are an engine with the images aa:1 and bb:2, and a node that has aa:1 and takes what is imported.
const imageCases = `"image inspect"*missing*) echo "Error: No such image: missing:1" >&2; exit 1 ;;
"image inspect"*aa:1) echo sha256:aa ;;
"image inspect"*bb:2) echo sha256:bb ;;
exec*"ctr --namespace=k8s.io images ls -q") echo docker.io/library/aa:1; echo ghcr.io/x/y:v2 ;;
exec*"ctr --namespace=k8s.io images ls") echo "REF TYPE DIGEST SIZE PLATFORMS LABELS"; echo "docker.io/library/aa:1 application/x sha256:m1 1 MiB linux/amd64 -" ;;
exec*"content get sha256:m1") echo '{"config":{"digest":"sha256:aa"}}' ;;
exec*"config dump") printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "overlayfs"\n' ;;
`

func aCluster(t *testing.T, cases string) (c *Cluster, state string) {
	t.Helper()
	state = fakeEngine(t, cases)
	e, err := findEngine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newCluster(e, Settings{Name: "a"}.withDefaults()), state
}

func TestHas(t *testing.T) {
	c, _ := aCluster(t, imageCases)
	for image, want := range map[string]bool{
		"aa:1": true, "docker.io/library/aa:1": true, "ghcr.io/x/y:v2": true,
		"aa": false, "aa:2": false, "x/y:v2": false,
	} {
		if got, err := c.Has(t.Context(), image); got != want || err != nil {
			t.Errorf("Has(%q) = %v, %v; want %v", image, got, err, want)
		}
	}
	if _, err := c.Has(t.Context(), "A B"); err == nil {
		t.Error("a name that is none gave no error")
	}
}

const (
	imports = `exec*"images import"*) cat > "$D/imported" ;;
`
	saves = `save*) printf 'archive of %s' "$*" ;;
`
)

func TestLoad(t *testing.T) {
	c, state := aCluster(t, imageCases+imports)
	if err := c.Load(t.Context(), strings.NewReader("an archive")); err != nil {
		t.Fatal(err)
	}
	wantImported(t, state, "an archive")
}

func wantImported(t *testing.T, state, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(state, "imported"))
	if want == "" && !errors.Is(err, os.ErrNotExist) || want != "" && string(got) != want {
		t.Errorf("the node took %q (%v), want %q", got, err, want)
	}
}

func TestLoadFromEngine(t *testing.T) {
	for _, c := range []struct {
		name, script string
		images       []string
		imported     string
		says         []string // of the error
	}{
		{"one that is missing in the node", imports + saves, []string{"bb:2"}, "archive of save bb:2", nil},
		{"one that the node has", imports + saves, []string{"aa:1"}, "", nil},
		{"one of each", imports + saves, []string{"aa:1", "bb:2"}, "archive of save bb:2", nil},
		{"none", imports + saves, nil, "", nil},
		{"one that the engine has not", imports + saves, []string{"bb:2", "missing:1"}, "", []string{"image missing:1", "docker pull missing:1"}},
		{"saving fails", imports + `save*) printf cut; echo "disk is gone" >&2; exit 1 ;;
`, []string{"bb:2"}, "cut", []string{"docker save bb:2", "disk is gone"}},
		{"both fail", `exec*"images import"*) cat > "$D/imported"; echo "unexpected EOF" >&2; exit 1 ;;
save*) printf cut; echo "disk is gone" >&2; exit 1 ;;
`, []string{"bb:2"}, "cut", []string{"disk is gone", "unexpected EOF"}},
		{"loading fails while much is saved", `exec*"images import"*) echo "not an image" >&2; exit 1 ;;
save*) dd if=/dev/zero bs=65536 count=100 2>/dev/null ;;
`, []string{"bb:2"}, "", []string{"loading images into a-control-plane", "not an image"}},
		{"no space in the node", `exec*"images import"*) cat >/dev/null; echo "no space left on device" >&2; exit 1 ;;
` + saves, []string{"bb:2"}, "", []string{ErrSpace.Error()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, state := aCluster(t, c.script+imageCases)
			err := cluster.LoadFromEngine(t.Context(), c.images...)
			if (err != nil) != (c.says != nil) {
				t.Fatalf("error %v, want %q", err, c.says)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
			wantImported(t, state, c.imported)
		})
	}
}

func TestSaveArgs(t *testing.T) {
	c, _ := aCluster(t, `exec*uname*) echo aarch64 ;;`)
	for _, e := range []struct {
		engine engine
		want   string
	}{
		{engine{name: "docker"}, "save a b"},
		{engine{name: "docker", snapshotted: true}, "save --platform=linux/arm64 a b"},
		{engine{name: "podman"}, "save --format=docker-archive --multi-image-archive a b"},
	} {
		of := &Cluster{name: c.name, engine: c.engine}
		of.engine.snapshotted = e.engine.snapshotted
		if e.engine.name == "podman" { // which has no node to ask
			of.engine = &e.engine
		}
		got, err := of.saveArgs(t.Context(), []string{"a", "b"})
		if err != nil || strings.Join(got, " ") != e.want {
			t.Errorf("%s: %q, %v; want %q", e.engine.name, got, err, e.want)
		}
	}
}

func TestArch(t *testing.T) {
	c, _ := aCluster(t, `exec*uname*) echo vax ;;`)
	if arch, err := c.Arch(t.Context()); err == nil || !strings.Contains(err.Error(), `"vax"`) {
		t.Errorf("Arch = %q, %v; want an error that names it", arch, err)
	}
}

func FuzzParseImages(f *testing.F) {
	f.Add("REF TYPE DIGEST SIZE PLATFORMS LABELS\ndocker.io/library/aa:1 application/x sha256:m1 1 MiB linux/amd64 -\n")
	f.Add("a b\n\n\xff x sha256:")
	f.Fuzz(func(t *testing.T, table string) {
		words := strings.Fields(table)
		for ref, digest := range parseImages(table) {
			if !slices.Contains(words, ref) || !slices.Contains(words, digest) {
				t.Errorf("parseImages(%q) made up %q %q", table, ref, digest)
			}
		}
	})
}

func FuzzOnlyFile(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("a", 600))
	f.Fuzz(func(t *testing.T, archive string) {
		if text, _ := onlyFile(archive); len(text) > 256 {
			t.Errorf("%d bytes of a short file", len(text))
		}
	})
}
