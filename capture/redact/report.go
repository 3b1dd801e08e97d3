package redact

import (
	"cmp"
	"slices"
)

// Report says what was redacted, and never a value.
type Report struct {
	Requests int64   `json:"requests"` // as many as were given to Redactor.Request
	Refused  int64   `json:"refused"`  // of them
	Counts   []Count `json:"counts"`   // by rule, then place
}

// Count is what one rule redacted in one place. What of a refused request was redacted before it was refused is counted too.
type Count struct {
	Rule     string `json:"rule"`  // like "header authorization"
	Place    string `json:"place"` // "header", "authority", "path", "query" or "body"
	Values   int64  `json:"values"`
	Distinct int64  `json:"distinct"`
	AtLeast  bool   `json:"at_least,omitempty"` // whether there were too many distinct ones to count
}

// place is where something was redacted.
type place int

const (
	inHeader place = iota
	inAuthority
	inPath
	inQuery
	inBody
	places // how many there are
)

func (p place) String() string { return [...]string{"header", "authority", "path", "query", "body"}[p] }

// maxTags bounds what counting distinct values holds, over all rules: about 10 MB.
const maxTags = 1 << 18

// rule is what names and paths come down to, and what the report counts by.
type rule struct {
	name      string
	keep      Keep
	drop      bool
	byDefault bool
	counts    [places]count
}

type count struct {
	values int64
	tags   map[uint64]struct{}
	full   bool
}

// tally counts for the report.
type tally struct {
	requests, refused int64
	rules             []*rule
	tags              int
}

// rule makes a rule that the report knows.
func (t *tally) rule(name string, keep Keep) *rule {
	u := &rule{name: name, keep: keep}
	t.rules = append(t.rules, u)
	return u
}

func (t *tally) add(u *rule, p place, tag uint64) {
	c := &u.counts[p]
	c.values++
	if _, seen := c.tags[tag]; seen {
		return
	}
	if t.tags >= maxTags {
		c.full = true
		return
	}
	if c.tags == nil {
		c.tags = map[uint64]struct{}{}
	}
	c.tags[tag] = struct{}{}
	t.tags++
}

// addAgain counts n values that were added before: their tags are known, or there were too many.
func (t *tally) addAgain(u *rule, p place, n int64) { u.counts[p].values += n }

func (t *tally) report() Report {
	r := Report{t.requests, t.refused, []Count{}}
	for _, u := range t.rules {
		for p, c := range u.counts {
			if c.values > 0 {
				r.Counts = append(r.Counts, Count{u.name, place(p).String(), c.values, int64(len(c.tags)), c.full})
			}
		}
	}
	slices.SortStableFunc(r.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Place, b.Place))
	})
	return r
}
