package reports

import (
	"bytes"
	"io"

	"umbra/internal/evidence"
)

// file is a file of the run folder that holds a report.
type file struct {
	name   string
	render func(*Report, io.Writer) error
}

// files are all of them.
var files = []file{
	{evidence.Report, (*Report).WriteJSON},
	{evidence.HTML, (*Report).HTML},
	{evidence.Markdown, (*Report).Markdown},
	{evidence.JUnit, (*Report).JUnit},
	{evidence.Metrics, (*Report).Prometheus},
}

// Write puts the report into a run's folder, in all its formats, each file replaced as a whole.
func (r *Report) Write(dir string) error {
	for _, f := range files {
		var b bytes.Buffer
		if err := f.render(r, &b); err != nil {
			return err
		}
		if err := evidence.Replace(dir, f.name, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
