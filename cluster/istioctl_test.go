package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbra/cluster/doctor"
)

// fakeIstioctl puts a program on the PATH that notes its arguments, says what it is told to, and ends with a status.
func fakeIstioctl(t *testing.T, says string, status int) (args func() string) {
	t.Helper()
	dir := t.TempDir()
	answer, noted := filepath.Join(dir, "answer"), filepath.Join(dir, "args")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s ' \"$@\" > '%s'\nwhile [ $# -gt 0 ]; do [ \"$1\" = --kubeconfig ] && [ -r \"$2\" ] && while read -r line; do printf 'has %%s' \"$line\" >> '%s'; done < \"$2\"; shift; done\n"+
		"while read -r line; do printf '%%s\\n' \"$line\"; done < '%s'\necho 'Error: it was told to fail' >&2\nexit %d\n", noted, noted, answer, status)
	for name, text := range map[string]string{"answer": says + "\n", "istioctl": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return func() string {
		data, err := os.ReadFile(noted)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
}

func message(code, level, origin string) string {
	return fmt.Sprintf(`{"code": %q, "level": %q, "message": "it is so", "origin": %q, "reference": "a.yaml:7", "documentationUrl": "https://docs.example/%s"}`, code, level, origin, code)
}

func TestIstioctl(t *testing.T) {
	all := "[" + strings.Join([]string{
		message("IST0135", "Info", "Pod shop/a"), message("IST0103", "Warning", "Pod shop/a"), message("IST0101", "Error", "VirtualService shop/a"),
		message("IST0103", "Warning", "Pod kube-system/a"), message("IST0102", "Warning", "Namespace kube-system"), message("IST0109", "Error", "VirtualService shop/b"),
	}, ",") + "]"
	for _, c := range []struct {
		name   string
		how    Istioctl
		says   string
		status int
		want   []string // severity, check and object
		args   string   // where * stands for any file
	}{
		{"a healthy cluster", Istioctl{Live: true}, "[]", 0, nil, "analyze -o json --all-namespaces"},
		{"says nothing", Istioctl{Live: true}, "", 0, nil, "analyze -o json --all-namespaces"},
		{"advice alone", Istioctl{Live: true}, "[" + message("IST0102", "Info", "Namespace default") + "]", 0, nil, "analyze -o json --all-namespaces"},
		{"a cluster", Istioctl{Live: true, File: "/k", Context: "c"}, all, 79,
			[]string{"error istioctl-IST0101 VirtualService shop/a", "error istioctl-IST0109 VirtualService shop/b", "warning istioctl-IST0103 Pod shop/a"},
			"analyze -o json --all-namespaces --kubeconfig /k --context c"},
		{"a cluster of kind, with files", Istioctl{Live: true, Kubeconfig: []byte("secret\n"), Files: []string{"a.yaml"}}, "[]", 0, nil,
			"analyze -o json --all-namespaces --kubeconfig * a.yaml has secret"},
		{"files, where what is not there may stand in the cluster", Istioctl{Files: []string{"a.yaml", "b.yaml"}}, all, 79,
			[]string{"error istioctl-IST0109 VirtualService shop/b", "warning istioctl-IST0101 VirtualService shop/a", "warning istioctl-IST0103 Pod shop/a"},
			"analyze -o json --use-kube=false a.yaml b.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := fakeIstioctl(t, c.says, c.status)
			found, err := c.how.Analyze(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Check, f.Object))
				if f.Finding != "it is so" || !strings.Contains(f.Evidence, "a.yaml:7") || !strings.Contains(f.Remedy, "https://docs.example/IST") {
					t.Errorf("%+v", f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			before, after, any := strings.Cut(c.args, "*")
			said := args()
			if said != c.args && !(any && strings.HasPrefix(said, before) && strings.HasSuffix(said, after)) {
				t.Errorf("arguments %q, want %q", said, c.args)
			}
			if _, file, ok := strings.Cut(said, "--kubeconfig "); ok && any {
				file, _, _ = strings.Cut(file, " ")
				if _, err := os.Stat(file); !os.IsNotExist(err) {
					t.Errorf("the kubeconfig is still there: %v", err)
				}
			}
		})
	}
}

// TestIstioctlFails: what is no analysis is an error, that names the reason; no istioctl is none.
func TestIstioctlFails(t *testing.T) {
	for _, c := range []struct {
		name, says string
		status     int
	}{
		{"no JSON", "✘ Error", 0},
		{"no answer", "", 1},
		{"nothing found and yet it failed", "[]", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeIstioctl(t, c.says, c.status)
			found, err := Istioctl{Live: true}.Analyze(t.Context())
			if err == nil || !strings.Contains(err.Error(), "told to fail") || len(found) > 0 {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
	t.Setenv("PATH", t.TempDir())
	if found, err := (Istioctl{Live: true}).Analyze(t.Context()); err != nil || found != nil {
		t.Errorf("without istioctl: %v, %v", found, err)
	}
}

func FuzzIstioctl(f *testing.F) {
	f.Add("[" + message("IST0101", "Error", "VirtualService shop/a") + "]")
	f.Add(`[{"level": 3}]`)
	f.Add("null")
	f.Fuzz(func(t *testing.T, out string) {
		found, err := Istioctl{}.analysis([]byte(out))
		if err != nil && found != nil {
			t.Errorf("%v and %v", found, err)
		}
		for _, x := range found {
			if x.Severity != doctor.Error && x.Severity != doctor.Warning {
				t.Errorf("%+v", x)
			}
		}
	})
}
