package mesh

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFaults(t *testing.T) {
	twelve := 12.0
	got, err := ParseFaults("fraction=12,drop=0.005, duplicate=0.1", "mutate=1,mirror-writes=0.5,lose-primary=0,slow-primary=20ms,shadow=hung")
	if err != nil {
		t.Fatal(err)
	}
	want := Faults{Fraction: &twelve, Drop: 0.005, Duplicate: 0.1, Mutate: 1, MirrorWrites: 0.5, SlowPrimary: 20 * time.Millisecond, Shadow: "hung"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseFaultsRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "write it as name=value",
		"drop":                "write it as name=value",
		"drops=1":             "the names are fraction, drop",
		"drop=1.1":            "not a share from 0 to 1",
		"drop=NaN":            "not a share from 0 to 1",
		"drop=0.1,drop=0.2":   "given twice",
		"fraction=101":        "percentage from 0 to 100",
		"fraction=10%":        "percentage from 0 to 100",
		"slow-primary=20":     "positive duration like 20ms",
		"slow-primary=-1ms":   "positive duration like 20ms",
		"shadow=broken":       "not one of healthy, slow, hung, dead, errors",
		"drop=0.1,shadow=sad": "not one of",
	} {
		if _, err := ParseFaults(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", in, err, want)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add("fraction=12,drop=0.005,shadow=slow")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseFaults(in)
		if err != nil {
			return
		}
		for name, share := range got.shares() {
			if !(*share >= 0 && *share <= 1) {
				t.Errorf("%s = %g out of %q", name, *share, in)
			}
		}
	})
}
