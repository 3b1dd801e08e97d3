package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ShadowModes are the values of the fault shadow.
var ShadowModes = []string{"healthy", "slow", "hung", "dead", "errors"}

// ParseFaults reads faults as they are asked for on the command line: "fraction=12,drop=0.005", any number of times.
func ParseFaults(lists ...string) (Faults, error) {
	var f Faults
	seen := map[string]bool{}
	for _, list := range lists {
		for _, one := range strings.Split(list, ",") {
			key, value, ok := strings.Cut(strings.TrimSpace(one), "=")
			if !ok {
				return f, fmt.Errorf("fault %q: write it as name=value; the names are %s", one, strings.Join(faultNames(), ", "))
			}
			if seen[key] {
				return f, fmt.Errorf("fault %s is given twice", key)
			}
			seen[key] = true
			if err := f.set(key, value); err != nil {
				return f, fmt.Errorf("fault %s: %w", key, err)
			}
		}
	}
	return f, nil
}

// shares are the faults that are a share of requests.
func (f *Faults) shares() map[string]*float64 {
	return map[string]*float64{"drop": &f.Drop, "duplicate": &f.Duplicate, "mutate": &f.Mutate,
		"mirror-writes": &f.MirrorWrites, "lose-primary": &f.LosePrimary}
}

func faultNames() []string {
	return []string{"fraction", "drop", "duplicate", "mutate", "mirror-writes", "lose-primary", "slow-primary", "shadow"}
}

func (f *Faults) set(key, value string) (err error) {
	if share := f.shares()[key]; share != nil {
		*share, err = number(value, 1, "a share from 0 to 1, like 0.005")
		return err
	}
	switch key {
	case "fraction":
		percent, err := number(value, 100, "a percentage from 0 to 100, like 12")
		f.Fraction = &percent
		return err
	case "slow-primary":
		f.SlowPrimary, err = time.ParseDuration(value)
		if err != nil || f.SlowPrimary <= 0 {
			return fmt.Errorf("%q is not a positive duration like 20ms", value)
		}
	case "shadow":
		if !slices.Contains(ShadowModes, value) {
			return fmt.Errorf("%q is not one of %s", value, strings.Join(ShadowModes, ", "))
		}
		f.Shadow = value
	default:
		return fmt.Errorf("there is none of that name; the names are %s", strings.Join(faultNames(), ", "))
	}
	return nil
}

func number(value string, most float64, want string) (float64, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= 0 && n <= most) {
		return 0, fmt.Errorf("%q is not %s", value, want)
	}
	return n, nil
}
