//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// job is the load that a tool is asked for.
type job struct {
	url         string // of HTTP/1.1, or of h2c where streams is above 0
	connections int
	streams     int           // concurrent ones on each HTTP/2 connection; 0: HTTP/1.1
	rate        int           // requests a second; 0: a closed loop
	duration    time.Duration // whole seconds
	timeout     time.Duration // of a request, whole seconds
	dir         string        // an empty folder for the run's files
}

func (j job) seconds() string   { return fmt.Sprintf("%.0fs", j.duration.Seconds()) }
func (j job) conns() string     { return strconv.Itoa(j.connections) }
func (j job) perSecond() string { return strconv.Itoa(j.rate) }

// planned is how many requests an open loop is asked for.
func (j job) planned() int { return j.rate * int(j.duration.Seconds()) }

// tool is a load generator.
type tool struct {
	name    string
	program string             // as found on PATH
	install string             // where it comes from, for who misses it
	version []string           // arguments that make it print its version; none: Go's build information has it
	args    func(job) []string // nil for a job that it cannot do
	files   func(job) map[string]string
	report  func(job) []string // arguments of a second run, not measured, that prints the figures
	said    func(stdout []byte, dir string) (said, error)
}

// printed makes a parser of what a tool prints.
func printed(parse func([]byte) (said, error)) func([]byte, string) (said, error) {
	return func(stdout []byte, _ string) (said, error) { return parse(stdout) }
}

// The peers, each run as its own documentation runs it for such a load: latencies on, keep-alive, one thread.
var peers = []tool{
	{name: "wrk", program: "wrk", install: "apt-get install wrk", version: []string{"-v"}, args: wrkArgs, said: printed(parseWrk)},
	{name: "h2load", program: "h2load", install: "apt-get install nghttp2-client", version: []string{"--version"}, args: h2loadArgs, said: printed(parseH2load)},
	{name: "hey", program: "hey", install: "apt-get install hey", args: heyArgs, said: printed(parseHey)},
	{name: "vegeta", program: "vegeta", install: "go install github.com/tsenart/vegeta/v12@latest", args: vegetaArgs, files: vegetaTargets, report: vegetaReport, said: printed(parseVegeta)},
	{name: "fortio", program: "fortio", install: "go install fortio.org/fortio@v1.63.10", args: fortioArgs, said: printed(parseFortio)},
	{name: "k6", program: "k6", install: "go install go.k6.io/k6@v1.8.0", args: k6Args, files: k6Files, said: printed(parseK6)},
	{name: "oha", program: "oha", install: "cargo install oha --locked", version: []string{"--version"}, args: ohaArgs, said: printed(parseOha)},
	{name: "wrk2", program: "wrk2", install: "its source is github.com/giltene/wrk2; the bench looks for it as wrk2", version: []string{"-v"}, args: wrk2Args, said: printed(parseWrk)},
}

// umbra is umbra, with arguments beside those that the job needs.
func umbra(name string, more ...string) tool {
	return tool{name: name, program: "umbra", install: "make build", version: []string{"version"}, said: parseUmbra,
		args: func(j job) []string { return append(umbraArgs(j), more...) }}
}

func umbraArgs(j job) []string {
	rate := "max"
	if j.rate > 0 {
		rate = j.perSecond()
	}
	args := []string{"replay", j.url, "--rate", rate, "--for", j.seconds(), "--connections", j.conns(),
		"--timeout", j.timeout.String(), "--json", "--out", filepath.Join(j.dir, umbraRun)}
	if j.streams > 0 {
		args = append(args, "--h2c", "--streams", strconv.Itoa(j.streams))
	}
	return args
}

// umbraRun is the run's folder within the job's.
const umbraRun = "run"

func wrkArgs(j job) []string {
	if j.rate > 0 || j.streams > 0 {
		return nil
	}
	return []string{"-t1", "-c" + j.conns(), "-d" + j.seconds(), "--latency", j.url}
}

// wrk2 throws away what it measured in its first 10 s and 5 ms for each connection (CALIBRATE_DELAY_MS in its wrk.c),
// so it gets those on top; where a run is shorter, it keeps everything, which a run of exactly 10 s makes use of.
func wrk2Args(j job) []string {
	if j.rate == 0 || j.streams > 0 {
		return nil
	}
	if j.duration < 10*time.Second {
		j.duration += 11 * time.Second
	}
	return []string{"-t1", "-c" + j.conns(), "-d" + j.seconds(), "-R" + j.perSecond(), "--timeout", j.timeout.String(), "--latency", j.url}
}

func h2loadArgs(j job) []string {
	if j.rate > 0 {
		return nil
	}
	args := []string{"-t1", "-c" + j.conns(), "-D" + strings.TrimSuffix(j.seconds(), "s")}
	if j.streams > 0 {
		return append(args, "-m"+strconv.Itoa(j.streams), j.url)
	}
	return append(args, "--h1", j.url)
}

func heyArgs(j job) []string {
	if j.rate > 0 || j.streams > 0 {
		return nil
	}
	return []string{"-z", j.seconds(), "-c", j.conns(), "-cpus", "1", j.url}
}

// vegeta's workers are its closed loop; in an open one it may have as many as it likes, since it records nowhere how long
// a request waited for one, and the connections are limited instead.
func vegetaArgs(j job) []string {
	if j.streams > 0 {
		return nil
	}
	args := []string{"attack", "-targets", filepath.Join(j.dir, "targets"), "-output", filepath.Join(j.dir, "results"),
		"-duration", j.seconds(), "-rate", j.perSecond(), "-connections", j.conns(), "-workers", j.conns(), "-timeout", j.timeout.String()}
	if j.rate == 0 {
		return append(args, "-max-workers", j.conns())
	}
	return append(args, "-max-connections", j.conns())
}

func vegetaTargets(j job) map[string]string {
	return map[string]string{"targets": "GET " + j.url + "\n"}
}

func vegetaReport(j job) []string {
	return []string{"report", "-type", "json", filepath.Join(j.dir, "results")}
}

// fortio's histogram has steps of 1 ms unless told otherwise, which no latency here would show in, and its threads send all
// at the same instants, which makes its latencies worse than they need be.
func fortioArgs(j job) []string {
	if j.streams > 0 {
		return nil
	}
	args := []string{"load", "-quiet", "-c", j.conns(), "-t", j.seconds(), "-timeout", j.timeout.String(),
		"-r", "0.00001", "-p", "50,75,99", "-json", "-"}
	if j.rate == 0 {
		return append(args, "-qps", "-1", j.url)
	}
	return append(args, "-qps", j.perSecond(), "-uniform", j.url)
}

//go:embed k6.js
var k6Script string

func k6Args(j job) []string {
	if j.streams > 0 {
		return nil
	}
	return []string{"run", "--quiet", "--no-usage-report", "-e", "TARGET=" + j.url, "-e", "FOR=" + j.seconds(), "-e", "RATE=" + j.perSecond(),
		"-e", "VUS=" + j.conns(), filepath.Join(j.dir, "k6.js")}
}

func k6Files(job) map[string]string { return map[string]string{"k6.js": k6Script} }

func ohaArgs(j job) []string {
	if j.streams > 0 {
		return nil
	}
	args := []string{"--no-tui", "--output-format", "json", "-c", j.conns(), "-z", j.seconds(), "-t", j.timeout.String()}
	if j.rate > 0 {
		args = append(args, "-q", j.perSecond(), "--latency-correction")
	}
	return append(args, j.url)
}

// prepare writes the files that the tool reads.
func (t tool) prepare(j job) error {
	if t.files == nil {
		return nil
	}
	for name, text := range t.files(j) {
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
