package route

import "testing"

// TestNormalizePath holds normalizePath against Chromium's url_canon tests and Envoy's path_utility_test.
func TestNormalizePath(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"plain", "/api/items?page=1", "/api/items?page=1"},
		{"dot", "/./a", "/a"},
		{"dot at the end", "/a/.", "/a/"},
		{"dots", "/a/../b", "/b"},
		{"dots at the end", "/a/b/..", "/a/"},
		{"above the root", "/../../a", "/a"},
		{"deep", "/a/b/../../c/./d", "/c/d"},
		{"three dots are a name", "/a/.../b", "/a/.../b"},
		{"hidden file", "/.well-known/x", "/.well-known/x"},
		{"file with dots", "/a.b/c..d", "/a.b/c..d"},
		{"slashes stay", "//a///b", "//a///b"},
		{"up over an empty segment", "/a//../b", "/a/b"},
		{"encoded dots", "/a/%2e%2E/b", "/b"},
		{"half encoded dots", "/a/.%2e/b", "/b"},
		{"unreserved is decoded", "/%41%7e%2D", "/A~-"},
		{"slash stays encoded", "/a%2Fb%2fc", "/a%2Fb%2fc"},
		{"reserved stays encoded, case kept", "/a%3d%3D", "/a%3d%3D"},
		{"percent stays encoded", "/100%25", "/100%25"},
		{"backslash", `/a\b`, "/a/b"},
		{"backslash and dots", `/a\..\b`, "/b"},
		{"control and high bytes stay encoded", "/%01%20%7f%ff", "/%01%20%7f%ff"},
		{"braces and quotes", `/{a}"<>^` + "`|", "/%7Ba%7D%22%3C%3E%5E%60%7C"},
		{"brackets stay", "/[a]:;@&=+$,!'()*", "/[a]:;@&=+$,!'()*"},
		{"fragment", "/a/../b#c/../d?e", "/b"},
		{"fragment of a query", "/a?b#c?d", "/a?b"},
		{"empty fragment", "/a?#", "/a?"},
		{"query stays", "/a?b/../c%41%%d", "/a?b/../c%41%%d"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, ok := normalizePath(row.in); got != row.want || !ok {
				t.Errorf("%q becomes %q, %v instead of %q", row.in, got, ok, row.want)
			}
		})
	}
}

func TestNormalizePathRejects(t *testing.T) {
	for _, in := range []string{"", "a", "*", "?a", "#", "a#/b", "/a#\x01", "/a#ä", "/%00", "/a\x00", "/a b", "/ä", "/\xff", "/\x01", "/a\x7f", "/a?b c", "/a?ä", "/a?\n",
		"/100%", "/%zz", "/%4", "/%%34%31", "/%4%31", "/a%/../b"} {
		if got, ok := normalizePath(in); ok {
			t.Errorf("%q becomes %q instead of being rejected", in, got)
		}
	}
}

// TestNormalizedMatch: routes see, and upstreams get, the normalised path.
func TestNormalizedMatch(t *testing.T) {
	tab := shop(t, `{name: admin, match: [{uri: {prefix: /admin}}], `+toV("v1")+`}, {name: rest, `+toV("v2")+`}`)
	d := tab.Match(request("/public/../%61dmin/x?y=../z"))
	if routeOf(d) != "admin" || d.Path != "/admin/x?y=../z" {
		t.Errorf("route %q with path %q", routeOf(d), d.Path)
	}
}
