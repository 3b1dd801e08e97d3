package redact

import (
	"errors"
	"fmt"

	"umbra/internal/jsonpath"
)

// addPaths reads the paths; the error tells every one that is wrong.
func (r *Redactor) addPaths(paths []Path) error {
	var errs []error
	for _, p := range paths {
		steps, err := parsePath(p.Path)
		errs = append(errs, err, checkKeep("json: "+p.Path, p.Keep))
		r.paths, r.pathRules = append(r.paths, steps), append(r.pathRules, r.rule("json "+p.Path, p.Keep))
	}
	return errors.Join(errs...)
}

func parsePath(path string) (jsonpath.Path, error) {
	steps, err := jsonpath.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return steps, nil
}
