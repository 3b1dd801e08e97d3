package packet

import (
	"github.com/google/gopacket"

	"umbra/capture/internal/exchange"
)

// verdict is what became of a packet on its way through the layers.
type verdict uint8

const (
	readable  verdict = iota
	foreign           // no TCP, or a fragment that waits for others: nothing to say
	malformed         // or of a link layer that is not read
	cut               // by the snap length, before it told enough
	short             // it ends too early: cut, or malformed where the capture has all of it
)

// decoder takes the layers off a frame.
type decoder struct {
	loss      exchange.Loss
	fragments *defragmenter
}

func newDecoder(loss exchange.Loss) *decoder {
	return &decoder{loss, newDefragmenter(loss)}
}

// decode fills p and tells true where the frame holds a TCP segment, or completes one. What is lost is counted.
func (d *decoder) decode(f *frame, p *Packet) bool {
	v := d.layers(f, p)
	if v == short && len(f.data) < f.length {
		v = cut
	}
	switch v {
	case malformed, short:
		d.loss.Add(exchange.PacketsUnreadable, 1)
	case cut:
		d.loss.Add(exchange.PacketsTruncated, 1)
	}
	return v == readable
}

func (d *decoder) layers(f *frame, p *Packet) verdict {
	b, v := network(f.link, f.data)
	if v != readable {
		return v
	}
	ip := datagram{at: f.at}
	uncaptured := f.length - len(f.data)
	switch b[0] >> 4 {
	case 4:
		v = d.ipv4(&ip, b, uncaptured)
	case 6:
		v = d.ipv6(&ip, b, uncaptured)
	default:
		v = malformed
	}
	if v != readable {
		return v
	}
	p.At = f.at
	p.From, p.To = ip.from, ip.to
	return d.tcp(&ip, p)
}

// tcp decodes a segment (RFC 9293, section 3.1) as far as it was captured. Options that are none are left to the endpoints,
// which ignore them too: the payload stands where the data offset says.
func (d *decoder) tcp(ip *datagram, p *Packet) verdict {
	const header = 20
	length := len(ip.payload) + ip.missing
	if length < header {
		return malformed
	}
	if len(ip.payload) < header {
		return cut
	}
	offset := int(ip.payload[12]>>4) * 4
	if offset < header || offset > length {
		return malformed
	}
	_ = p.TCP.DecodeFromBytes(ip.payload, gopacket.NilDecodeFeedback) // fails for options only
	p.Missing = length - max(offset, len(ip.payload))
	if ip.missing > 0 {
		d.loss.Add(exchange.PacketsTruncated, 1)
	}
	return readable
}

// finish gives up what waits for the rest of a capture that has ended.
func (d *decoder) finish() { d.fragments.drop() }
