package replay

import "testing"

func TestPortsIn(t *testing.T) {
	for name, c := range map[string]struct {
		text, reserved string
		want           int
	}{
		"the default":            {"32768\t60999\n", "\n", 28232},
		"reserved":               {"32768\t60999\n", "40000,50000-50009\n", 28221},
		"reserved outside":       {"32768 60999", "8080,9000-9100", 28232},
		"reserved over the edge": {"100 109", "90-104", 5},
		"all reserved":           {"100 109", "1-65535", 0},
		"one port":               {"100 100", "", 1},
		"the wrong way round":    {"109 100", "", 0},
		"one number":             {"100", "", 0},
		"no numbers":             {"a b", "", 0},
		"empty":                  {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := portsIn(c.text, c.reserved); got != c.want {
				t.Errorf("%d ports, want %d", got, c.want)
			}
		})
	}
}

func TestReuseOf(t *testing.T) {
	for text, want := range map[string]reuseOfPorts{"0\n": reuseNever, "1\n": reuseAlways, "2\n": reuseOnLoopback, "": reuseNever, "x": reuseNever} {
		if got := reuseOf(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

// This machine tells its limits.
func TestReadLimits(t *testing.T) {
	l := readLimits()
	if l.ports == 0 || l.linger == 0 {
		t.Errorf("%+v", l)
	}
}
