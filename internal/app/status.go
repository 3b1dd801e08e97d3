package app

import (
	"net/http"
	"time"
)

// Status is what an app says of itself, the JSON of GET /status.
type Status struct {
	Version     string `json:"version"`
	Pod         string `json:"pod"`
	Started     int64  `json:"started_unix_ns"` // of this process
	Incarnation int    `json:"incarnation"`     // 1 for the first process of a ReceiptsDir, and without one
	Earlier     int    `json:"earlier"`         // files of earlier processes, those forgotten not among them
	Cut         int    `json:"cut"`             // of Earlier, those without an end: their process was killed, and its last receipts may be missing
	Receipts    int    `json:"receipts"`        // that GET /receipts gives, unfinished ones among them
	Clock       int64  `json:"clock_unix_ns"`   // the replica's clock as it answers
	CPU         int64  `json:"cpu_ns"`          // user and system time of this process; 0 where the system does not tell
}

func (a *App) status(w http.ResponseWriter, _ *http.Request) {
	s := Status{Version: a.config.Version, Pod: a.config.Pod, Started: a.started.UnixNano(), CPU: int64(cpuTime())}
	a.ledger.describe(&s)
	s.Clock = time.Now().UnixNano()
	writeJSON(w, s)
}
