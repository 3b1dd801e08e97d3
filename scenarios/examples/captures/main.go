// Command captures makes the captures that some examples replay: go run ./scenarios/examples/captures DIR.
package main

import (
	"fmt"
	"os"

	"umbra/internal/sample"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: captures DIR: writes", sample.PCAP, "and", sample.HAR, "into DIR")
		os.Exit(2)
	}
	if err := sample.Make(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "captures:", err)
		os.Exit(1)
	}
}
