package oracle

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

type packet struct {
	info gopacket.CaptureInfo
	data []byte
}

// copies are what is done to a capture; whole ones still hold every request.
var copies = []struct {
	name   string
	whole  bool
	change func([]packet) []packet
}{
	{"shuffled", true, func(all []packet) []packet {
		random := rand.New(rand.NewPCG(1, 2))
		for i := 0; i < len(all); i += 40 {
			part := all[i:min(i+40, len(all))]
			random.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
		}
		return all
	}},
	{"duplicated", true, func(all []packet) (out []packet) {
		random := rand.New(rand.NewPCG(3, 4))
		for _, p := range all {
			for range 1 + random.IntN(3) {
				out = append(out, p)
			}
		}
		return out
	}},
	{"truncated", false, func(all []packet) []packet { return all[:len(all)*3/5] }},
	{"joined late", false, func(all []packet) []packet { return all[len(all)/3:] }},
	{"with gaps", false, func(all []packet) (out []packet) {
		random := rand.New(rand.NewPCG(5, 6))
		for _, p := range all {
			if random.IntN(50) > 0 {
				out = append(out, p)
			}
		}
		return out
	}},
	{"cut by a snap length", false, func(all []packet) []packet {
		for i := range all {
			all[i].data = all[i].data[:min(len(all[i].data), 160)]
			all[i].info.CaptureLength = len(all[i].data)
		}
		return all
	}},
}

// rewrite copies a capture, changed.
func rewrite(t *testing.T, from, to string, change func([]packet) []packet) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	reader, err := pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
	must(t, err)
	var all []packet
	for {
		data, info, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		all = append(all, packet{info, data})
	}
	out, err := os.Create(to)
	must(t, err)
	w := pcapgo.NewWriterNanos(out)
	must(t, w.WriteFileHeader(262144, layers.LinkTypeEthernet))
	for _, p := range change(all) {
		must(t, w.WritePacket(p.info, p.data))
	}
	must(t, out.Close())
}
