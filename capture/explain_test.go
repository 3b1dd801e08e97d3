package capture

import (
	"os"
	"regexp"
	"testing"
)

// TestExplainKnowsAll checks that each cause that is declared has its words.
func TestExplainKnowsAll(t *testing.T) {
	source, err := os.ReadFile("internal/exchange/loss.go")
	if err != nil {
		t.Fatal(err)
	}
	causes := regexp.MustCompile(`Cause\s*=\s*"([a-z0-9_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(causes) < 25 {
		t.Fatalf("found only %d causes", len(causes))
	}
	for _, cause := range causes {
		if Explain(cause[1]) == cause[1] {
			t.Errorf("%s has no words", cause[1])
		}
	}
}
