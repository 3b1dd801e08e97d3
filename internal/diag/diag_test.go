package diag

import (
	"errors"
	"fmt"
	"testing"
)

func TestFaults(t *testing.T) {
	var inner, fs Faults
	inner.Addf("b.yaml", 2, 1, "second")
	fs.Addf("b.yaml", 10, 3, "last: %d", 7)
	fs.Add("x", fmt.Errorf("wrapped: %w", error(inner)))
	fs.Add("a.yaml", errors.New("first"))
	fs.Add("a.yaml", nil)
	fs.Addf("b.yaml", 2, 1, "second")
	fs.Addf("", 0, 0, "nowhere")
	const want = "nowhere\na.yaml: first\nb.yaml:2:1: second\nb.yaml:10:3: last: 7"
	if got := fs.Err().Error(); got != want {
		t.Errorf("got:\n%s\nwant, in the order of places and each once:\n%s", got, want)
	}
	if Faults(nil).Err() != nil {
		t.Error("no faults are an error")
	}
}

func TestNearest(t *testing.T) {
	tests := []struct{ name, word, want string }{
		{"a letter too many", "weightt", "weight"},
		{"two letters turned", "wieght", "weight"},
		{"another case", "Weight", "weight"},
		{"short", "fo", "for"},
		{"far", "colour", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Nearest(tt.word, []string{"weight", "path", "for"}); got != tt.want {
				t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
			}
		})
	}
}
