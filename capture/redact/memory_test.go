package redact

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbra/internal/traffic"
)

// TestMemoryChangesNothing holds a Redactor that remembers headers against one that does not: what it gives, and what it counts.
func TestMemoryChangesNothing(t *testing.T) {
	key := bytes.Repeat([]byte("k"), minKey)
	for name, rules := range map[string]Rules{
		"defaults":    {},
		"no defaults": {NoDefaults: true, Headers: []Name{{Name: "X-User"}}},
		"kept":        {Headers: []Name{{Name: "X-User", Keep: KeepClass}, {Name: "X-Gone", Drop: true}}, Keep: []string{"Cookie"}},
		"patterns":    {Patterns: []Pattern{{Match: "secret[0-9]+", In: []Part{InHeaders}}}},
	} {
		t.Run(name, func(t *testing.T) {
			remembers, err := New(rules, key)
			if err != nil {
				t.Fatal(err)
			}
			forgets, _ := New(rules, key)
			for i := range 3 * maxMemories {
				got, want := headersOf(i), headersOf(i)
				clear(forgets.memories)
				clear(forgets.nearest)
				forgets.untouched = untouched{}
				if err := remembers.Request(&got); err != nil {
					t.Fatal(err)
				}
				if err := forgets.Request(&want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("request %d: %s", i, diff)
				}
			}
			if diff := cmp.Diff(forgets.Report(), remembers.Report()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// headersOf makes a request whose headers partly come again: with the next request, much later, and with another name.
func headersOf(i int) traffic.Request {
	value := fmt.Sprintf("secret%d", i%7)
	headers := []traffic.Header{
		{"Host", "shop"}, {"User-Agent", "curl/8"}, {"Accept", value}, {"accept", value}, {"X-User", value}, {"X-Gone", value}, {"Cookie", "a=" + value + "; b="},
		{"Set-Cookie", "a=" + value + "; b="}, {"Authorization", "Basic " + value}, {"X-Api-Key", fmt.Sprint(i % 2000)}, {"X-Forwarded-For", "10.0.0.1"},
		{"Referer", "http://u:p@shop/?token=" + value}, {"X-Link", "/?token=" + value}, {"X-Link", "none"}, {"", ""},
	}
	return traffic.Request{Session: fmt.Sprintf("10.0.0.%d#%d", i%3, i), Method: "GET", Authority: value, Path: "/", Headers: slices.Delete(headers, i%5, i%5+1)}
}

// TestMemoryOfTexts checks what is remembered by where a text lies: the same value in the same text, in another one, and a shorter
// one that begins where a known one does.
func TestMemoryOfTexts(t *testing.T) {
	r, err := New(Rules{}, bytes.Repeat([]byte("k"), minKey))
	if err != nil {
		t.Fatal(err)
	}
	long := "abcdefgh-session"
	first := map[string]string{}
	for range 3 {
		for _, name := range []string{"X-Api-Key", "Authorization"} {
			for _, value := range []string{long, long[:8], string([]byte(long))} {
				q := traffic.Request{Path: "/", Headers: []traffic.Header{{name, value}}}
				if err := r.Request(&q); err != nil {
					t.Fatal(err)
				}
				got := q.Headers[0][1]
				if was, ok := first[name+value]; got == value || ok && got != was {
					t.Errorf("%s: %s became %s, and before %s", name, value, got, was)
				}
				first[name+value] = got
			}
		}
	}
	if first["X-Api-Key"+long] == first["X-Api-Key"+long[:8]] {
		t.Error("two values became one")
	}
	var values int64
	for _, c := range r.Report().Counts {
		values += c.Values
	}
	if values != 18 {
		t.Errorf("%d values are counted, want 18", values)
	}
}

// TestMemoryIsBounded checks that long values are not remembered.
func TestMemoryIsBounded(t *testing.T) {
	r, err := New(Rules{}, bytes.Repeat([]byte("k"), minKey))
	if err != nil {
		t.Fatal(err)
	}
	long := string(bytes.Repeat([]byte("x"), maxRememberedValue+1))
	if err := r.Request(&traffic.Request{Path: "/", Headers: []traffic.Header{{"Cookie", long}, {"Accept", long}}}); err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Concat(r.memories, r.nearest) {
		if m.rule != nil {
			t.Errorf("a value of %d bytes is remembered", len(m.value))
		}
	}
	if r.untouched != (untouched{}) {
		t.Error("a long header is remembered")
	}
}
