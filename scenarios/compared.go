package scenarios

import (
	"bufio"
	"os"
	"path/filepath"

	"umbra/internal/evidence"
	"umbra/internal/traffic"
	"umbra/internal/verdict"
)

// nothingCompared warns where a comparison was asked for and there is none.
const nothingCompared = "checks.versions asks how the versions' answers compare, and no request was answered by both: see Delivery, and what the mesh mirrors"

// versions compares the versions' answers, and completes the examples from the files.
func (f *folder) versions() {
	v := f.recon.Versions(f.facts)
	if v == nil {
		if f.out.Scenario.Checks.Versions != nil {
			f.out.Record.Warnings = append(f.out.Record.Warnings, nothingCompared)
		}
		return
	}
	f.out.Versions = v
	if len(v.Examples) == 0 {
		return
	}
	f.again(evidence.Results, func(file *os.File) { tellResults(v, file) })
	for _, name := range []string{evidence.PrimaryReceipts, evidence.ShadowReceipts} {
		f.again(name, func(file *os.File) { tellReceipts(v, file) })
	}
}

// again reads a file that was judged already. What is wrong with it was told then.
func (f *folder) again(name string, read func(*os.File)) {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return
	}
	defer file.Close()
	read(file)
}

// tellResults reads rows until each example has its own.
func tellResults(v *verdict.Versions, file *os.File) {
	_, batches, err := traffic.ReadResultBatches(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return
	}
	for rows := range batches {
		for i := range rows {
			if v.TellResult(&rows[i]) {
				return
			}
		}
	}
}

// tellReceipts reads receipts until each example has its own.
func tellReceipts(v *verdict.Versions, file *os.File) {
	for r := range traffic.ReadReceipts(bufio.NewReaderSize(file, 1<<20)) {
		if v.TellReceipt(&r) {
			return
		}
	}
}
