package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"umbra/internal/jsonpath"
)

// Settings are what of an app can be changed while it runs, and the JSON of PUT /settings, which replaces all of them:
// what is left out is 0.
type Settings struct {
	Behaviour Behaviour     `json:"behaviour"`
	Seed      uint64        `json:"seed"` // of latencies, errors and answers that differ
	Mode      string        `json:"mode"` // a Mode; empty: healthy
	SlowBy    time.Duration `json:"slow_by_ns"`
	// Delay is added to the latency of every answer, whatever the mode. It is left out where it is 0, so that an app of
	// before it takes the others.
	Delay time.Duration `json:"delay_ns,omitempty"`
	// Ignore are the JSON paths (package jsonpath) that receipts leave out of Receipt.ResponseJSONSHA256; empty: no receipt has it.
	Ignore []string `json:"ignore,omitempty"`
}

// Check tells everything that is wrong with them.
func (s Settings) Check() error {
	faults := []error{s.Behaviour.Check()}
	switch s.Mode {
	case "", ModeSlow, ModeHung, ModeErrors, ModeDead:
	default:
		faults = append(faults, fmt.Errorf("mode: %q is unknown; use %s, %s, %s or %s", s.Mode, ModeSlow, ModeHung, ModeErrors, ModeDead))
	}
	if s.SlowBy < 0 {
		faults = append(faults, fmt.Errorf("slow by: %v is negative", s.SlowBy))
	}
	if s.Delay < 0 {
		faults = append(faults, fmt.Errorf("delay: %v is negative", s.Delay))
	}
	_, err := s.ignored()
	return errors.Join(append(faults, err)...)
}

// ignored reads the paths; the error tells every one that is wrong.
func (s Settings) ignored() (paths []jsonpath.Path, err error) {
	for _, text := range s.Ignore {
		p, fault := jsonpath.Parse(text)
		if fault == nil && len(p) == 0 {
			fault = fmt.Errorf("%q leaves nothing to compare; name a part of the answer, like $.time", text)
		}
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("ignore: %w", fault))
		}
		paths = append(paths, p)
	}
	return paths, err
}

// setting is the settings of an instant. It is not changed once requests can see it.
type setting struct {
	Settings
	ignored []jsonpath.Path // Ignore
	over    chan struct{}   // closed where requests of ModeHung are to hang no longer; nil in other modes
}

// newSetting follows before, which is nil at the start. Requests that hang go on hanging where both are hung. The settings are
// checked.
func newSetting(s Settings, before *setting) *setting {
	if s.SlowBy == 0 {
		s.SlowBy = time.Second
	}
	ignored, _ := s.ignored() // no error, as they are checked
	switch {
	case s.Mode != ModeHung:
		return &setting{s, ignored, nil}
	case before != nil && before.Mode == ModeHung:
		return &setting{s, ignored, before.over}
	}
	return &setting{s, ignored, make(chan struct{})}
}

// readSettings decodes strictly, and checks.
func readSettings(r io.Reader) (Settings, error) {
	var s Settings
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return s, errors.New("settings: there is something behind the JSON object")
	}
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}

// settingsFile is the file of ReceiptsDir that holds what was last given to Configure.
const settingsFile = "settings.json"

// firstSettings are those of the file, where there is one, as an earlier process was given them; else the Config's.
func (a *App) firstSettings() (Settings, error) {
	if a.config.ReceiptsDir == "" {
		return a.config.settings(), nil
	}
	path := filepath.Join(a.config.ReceiptsDir, settingsFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a.config.settings(), nil
	}
	if err != nil {
		return Settings{}, err
	}
	defer file.Close()
	s, err := readSettings(file)
	if err != nil {
		return s, fmt.Errorf("%s: %w; correct or remove the file", path, err)
	}
	return s, nil
}

// ErrDraining is the error of an app that is being closed.
var ErrDraining = errors.New("the app is draining")

// Configure changes how the app behaves towards requests that arrive from now on. ModeDead cuts off every request and
// connection, and refuses further ones; any other mode listens again at the same address. Leaving ModeHung cuts hung
// requests off. Where there is an error, nothing has changed.
func (a *App) Configure(s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	if a.draining.Load() {
		return ErrDraining
	}
	var again []net.Listener
	if a.main == nil && s.Mode != ModeDead {
		var err error
		if again, err = listen(a.ctx, a.addr); err != nil {
			return err
		}
	}
	if err := a.keepSettings(s); err != nil {
		for _, l := range again {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	a.apply(s)
	for _, l := range again {
		a.serveMain(l)
	}
	return nil
}

// apply puts settings into force for who listens.
func (a *App) apply(s Settings) {
	before := a.now.Load()
	after := newSetting(s, before)
	a.now.Store(after)
	if before.over != nil && before.over != after.over {
		close(before.over)
	}
	if s.Mode == ModeDead && a.main != nil {
		if err := a.main.Close(); err != nil {
			a.config.Log("%v", err) // of a connection or listener that is closed all the same
		}
		a.main = nil
	}
}

// keepSettings writes them where a restarted process finds them.
func (a *App) keepSettings(s Settings) error {
	if a.config.ReceiptsDir == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(a.config.ReceiptsDir, settingsFile)
	if err := os.WriteFile(path+unready, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("settings cannot be kept: %w", err)
	}
	if err := os.Rename(path+unready, path); err != nil {
		return fmt.Errorf("settings cannot be kept: %w", err)
	}
	return nil
}
