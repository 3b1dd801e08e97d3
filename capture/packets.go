package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/gopacket/layers"

	"umbra/capture/internal/exchange"
	"umbra/capture/internal/http1"
	"umbra/capture/internal/http2"
	"umbra/capture/internal/packet"
	"umbra/capture/internal/tcp"
	"umbra/capture/internal/tls"
)

// pipeline is the way of packets to requests. One goroutine goes it.
type pipeline struct {
	o         Options
	w         *Writer
	order     *order
	keys      *tls.Keys
	memo      *http1.Memo
	assembler *tcp.Assembler
}

// pageSize is what a page of the assembler takes.
const pageSize = 1900

// newPipeline shares the memory out: a quarter for exchanges, an eighth each for bytes out of order and for late requests, and a
// thirty-second for lines that come again. The rest is what Go's collector leaves for later.
func newPipeline(o Options, w *Writer) *pipeline {
	p := &pipeline{o: o, w: w, keys: tls.NewKeys(), memo: http1.NewMemo(int(o.Memory / 32))}
	p.order = &order{limit: int(o.Memory / 4), loss: w.Loss, give: w.Write}
	p.assembler = tcp.New(tcp.Options{Loss: w.Loss, Open: p.open, Pages: int(o.Memory / 8 / pageSize)})
	return p
}

// open makes the stream of a connection.
func (p *pipeline) open(c tcp.Conn) exchange.Stream {
	limits := exchange.Limits{Body: int(p.o.Body), Head: headLimit}
	two := func(c tcp.Conn, scheme string) http2.Options {
		return http2.Options{Sink: p.order, Loss: p.w.Loss, Limits: limits, Session: c.Session, Scheme: scheme, Midway: c.Midway}
	}
	over := func(scheme string) tcp.Parsers {
		return tcp.Parsers{
			HTTP1: func(c tcp.Conn) exchange.Stream {
				return http1.New(http1.Options{Sink: p.order, Loss: p.w.Loss, Limits: limits, Session: c.Session, Scheme: scheme, Authority: c.Server.String(), Memo: p.memo,
					UpgradeTo: func(first *exchange.Exchange) exchange.Stream { return http2.NewUpgraded(two(c, scheme), first) }})
			},
			HTTP2: func(c tcp.Conn) exchange.Stream { return http2.New(two(c, scheme)) },
		}
	}
	plain := over("http")
	plain.TLS = func(c tcp.Conn) exchange.Stream {
		return tls.New(tls.Options{Keys: p.keys, Loss: p.w.Loss, Next: tcp.NewRecognizer(c, over("https"), p.w.Loss)})
	}
	return tcp.NewRecognizer(c, plain, p.w.Loss)
}

// take takes a packet.
func (p *pipeline) take(one *packet.Packet) {
	if len(p.o.Ports) > 0 && !p.wanted(one.TCP.SrcPort) && !p.wanted(one.TCP.DstPort) {
		return
	}
	p.assembler.Packet(one.From, one.To, &one.TCP, one.Missing, one.At)
}

func (p *pipeline) wanted(port layers.TCPPort) bool { return slices.Contains(p.o.Ports, int(port)) }

// end gives what was still waited for.
func (p *pipeline) end() {
	p.assembler.Close()
	p.order.close()
}

// keylog has the file of secrets read, where there is one. What it gives closes that, which a live capture goes on reading.
func (p *pipeline) keylog(read func(io.Reader) error) (func() error, error) {
	if p.o.Keylog == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Open(p.o.Keylog)
	if err != nil {
		return nil, fmt.Errorf("--keylog: %w", err)
	}
	if err := read(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("--keylog %s: %w", p.o.Keylog, err)
	}
	return f.Close, nil
}

// lookEvery is after how many packets the context is looked at.
const lookEvery = 1 << 10

// readPackets reads a capture file.
func readPackets(ctx context.Context, in io.Reader, o Options, w *Writer) error {
	p := newPipeline(o, w)
	closeKeys, err := p.keylog(p.keys.Read)
	if err != nil {
		return err
	}
	defer closeKeys()
	reader, err := packet.Open(in, w.Loss)
	if err != nil {
		return err
	}
	var secrets error
	reader.Secrets = func(keylog []byte) { secrets = errors.Join(secrets, p.readSecrets(keylog)) }
	var one packet.Packet
	for n := 0; ; n++ {
		if err = reader.Next(&one); err != nil {
			break
		}
		p.take(&one)
		if n%lookEvery == 0 && (ctx.Err() != nil || w.err != nil) {
			err = context.Cause(ctx)
			break
		}
	}
	p.end()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, secrets)
}

func (p *pipeline) readSecrets(keylog []byte) error {
	if err := p.keys.Read(bytes.NewReader(keylog)); err != nil {
		return fmt.Errorf("the capture's block of TLS secrets: %w", err)
	}
	return nil
}

// flushEvery is what a kill can take from a live capture.
const flushEvery = time.Second

// readLive reads an interface until ctx is done.
func readLive(ctx context.Context, name string, o Options, w *Writer) error {
	p := newPipeline(o, w)
	closeKeys, err := p.keylog(p.keys.Follow)
	if err != nil {
		return err
	}
	defer closeKeys()
	from, err := packet.OpenLive(name, o.Ports, 0, w.Loss)
	if err != nil {
		return err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = from.Stop() }) // Next then ends
	defer unwatch()
	err = p.follow(from)
	p.end()
	err = errors.Join(err, from.Close())
	dropped, dropErr := from.Dropped()
	w.Loss.Add(exchange.PacketsDropped, dropped)
	return errors.Join(err, dropErr, p.keys.Err())
}

// follow takes what comes until the interface is stopped.
func (p *pipeline) follow(from *packet.Live) error {
	from.Idle = func() { _ = p.w.Flush() } // it keeps its error
	flushed := time.Now()
	var one packet.Packet
	for {
		if err := from.Next(&one); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		p.assembler.Packet(one.From, one.To, &one.TCP, one.Missing, one.At)
		if one.At.Sub(flushed) > flushEvery {
			flushed = one.At
			if err := p.w.Flush(); err != nil {
				return nil // Close tells it
			}
		}
	}
}
