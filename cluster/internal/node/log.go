package node

import (
	"fmt"
	"strings"

	"sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"
)

// stepLogger hands kind's messages for users to a function, each a line without ornaments, and drops the finer ones.
type stepLogger struct {
	print func(format string, args ...any)
}

func (l stepLogger) Warn(message string)               { l.line(message) }
func (l stepLogger) Warnf(format string, args ...any)  { l.line(fmt.Sprintf(format, args...)) }
func (l stepLogger) Error(message string)              { l.line(message) }
func (l stepLogger) Errorf(format string, args ...any) { l.line(fmt.Sprintf(format, args...)) }
func (l stepLogger) Info(message string)               { l.line(message) }
func (l stepLogger) Infof(format string, args ...any)  { l.line(fmt.Sprintf(format, args...)) }
func (l stepLogger) Enabled() bool                     { return true }

func (l stepLogger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return l
}

// line prints a message where it is news: kind says each step when it begins ("•") and again when it ended ("✓").
func (l stepLogger) line(message string) {
	message = strings.TrimSpace(message)
	if message == "" || strings.HasPrefix(message, "✓") {
		return
	}
	message = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(message, "•"), "..."))
	l.print("%s", strings.TrimRightFunc(message, ornament))
}

// ornament tells emoji and the space around them from text.
func ornament(r rune) bool { return r == ' ' || r >= 0x2190 }

// kindError adds to an error of kind's what the failed command said, which kind keeps apart.
func kindError(err error) error {
	failed := exec.RunErrorForError(err)
	if failed == nil {
		return classify(err.Error(), err)
	}
	said := string(failed.Output)
	return classify(said, fmt.Errorf("%w%s", err, tail(said)))
}
