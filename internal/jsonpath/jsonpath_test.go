package jsonpath

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		path string
		want Path
	}{
		{"$", nil},
		{"$.a-b._c", Path{{Name: "a-b"}, {Name: "_c"}}},
		{"$..a[*].*", Path{{Name: "a", Below: true}, {Any: true}, {Any: true}}},
		{`$..['a\'b']["c.d"]`, Path{{Name: "a'b", Below: true}, {Name: "c.d"}}},
		{"$[0]..[3]..*", Path{{IsIndex: true}, {IsIndex: true, Index: 3, Below: true}, {Any: true, Below: true}}},
		{"$.été", Path{{Name: "été"}}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got, err := Parse(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []struct {
		path   string
		offset int
	}{
		{"", 0}, {"a", 0}, {"$a", 1}, {"$.", 1}, {"$..", 1}, {"$...a", 1}, {"$[", 1}, {"$[-1]", 1}, {"$[1:2]", 1}, {"$['a'", 1}, {"$['a','b']", 1},
		{"$['a", 1}, {"$ .a", 1}, {"$.été.", 7}, {"$" + strings.Repeat(".a", MaxSteps+1), 1 + 2*MaxSteps},
	} {
		steps, err := Parse(bad.path)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != bad.offset || syntax.Path != bad.path {
			t.Errorf("%q is %v, %v", bad.path, steps, err)
		}
	}
	if _, err := Parse("$.été."); err == nil || !strings.Contains(err.Error(), "character 6: a name is missing") {
		t.Errorf("characters are not counted: %v", err)
	}
}
