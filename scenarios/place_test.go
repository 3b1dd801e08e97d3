package scenarios

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"umbra/internal/route"
)

// The offset of the letter X in a value must lead to the X in the file; where the way is lost, to the value's start.
func TestInside(t *testing.T) {
	tests := []struct {
		name, file string
		line, col  int
	}{
		{"plain", "k: abX", 1, 6},
		{"in a list", "- a\n-   abX", 2, 7},
		{"behind letters of several bytes", "k: äöX", 1, 6},
		{"single quotes", "k: 'it''s X'", 1, 11},
		{"double quotes", `k: "a\tX"`, 1, 8},
		{"long escapes", `k: "\x41\u0042\U00000043X"`, 1, 25},
		{"block", "k: |\n  one\n\n   two X\n", 4, 8},
		{"block that strips", "k: |-\n  X", 2, 3},
		{"block with a given indentation", "k: |1\n   X\n", 2, 4},
		{"flow", "{k: [a, 'bX']}", 1, 11},
		{"folded", "k: >\n  a\n  X\n", 1, 4},
		{"over two lines", "k: 'a\n  X'", 1, 4},
		{"with a tag", "k: !!str 'aX'", 1, 4},
		{"with an anchor", "k: &a 'aX'", 1, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(tt.file), &doc); err != nil {
				t.Fatal(err)
			}
			n := withX(&doc)
			r := &reader{lines: strings.Split(tt.file, "\n")}
			if line, col := r.inside(n, strings.Index(n.Value, "X")); line != tt.line || col != tt.col {
				t.Errorf("got %d:%d, want %d:%d", line, col, tt.line, tt.col)
			}
		})
	}
}

// withX is the scalar that holds an X.
func withX(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "X") {
		return n
	}
	for _, c := range n.Content {
		if found := withX(c); found != nil {
			return found
		}
	}
	return nil
}

func TestServes(t *testing.T) {
	tests := []struct {
		name  string
		hosts []string
		want  bool
	}{
		{"by name", []string{"other.example.com", "my-app.example.com"}, true},
		{"by name in another case", []string{"My-App.Example.com"}, true},
		{"by suffix", []string{"*.example.com"}, true},
		{"by another suffix", []string{"*.example.org"}, false},
		{"all", []string{"*"}, true},
		{"with a namespace", []string{"shop/my-app.example.com"}, true},
		{"all of a namespace", []string{"./*"}, true},
		{"the suffix alone", []string{"example.com"}, false},
		{"none", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := serves(route.Server{Hosts: tt.hosts}, "my-app.example.com"); got != tt.want {
				t.Errorf("%v: got %v", tt.hosts, got)
			}
		})
	}
}
