package oracle

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// node is an element of tshark's PDML: a protocol or a field.
type node struct {
	Name  string `xml:"name,attr"`
	Show  string `xml:"show,attr"`
	Value string `xml:"value,attr"` // in hex
	Nodes []node `xml:",any"`
}

// all gives the fields of a name, in their order.
func (n *node) all(name string) (out []*node) {
	for i := range n.Nodes {
		if n.Nodes[i].Name == name {
			out = append(out, &n.Nodes[i])
		}
		out = append(out, n.Nodes[i].all(name)...)
	}
	return out
}

func (n *node) show(name string) string {
	if found := n.all(name); len(found) > 0 {
		return found[0].Show
	}
	return ""
}

func (n *node) bytes(t *testing.T) []byte {
	b, err := hex.DecodeString(n.Value)
	must(t, err)
	return b
}

// message is a request, or an answer.
type message struct {
	request string // method, host and path
	status  string
	body    []byte
}

// tshark gives the requests that tshark finds, a line each, sorted.
func tshark(t *testing.T, file string, r recording) []string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "tshark", "-n", "-r", file, "-o", "tls.keylog_file:"+r.keylog, "-o", "http.decompress_body:FALSE",
		"-o", "tcp.reassemble_out_of_order:TRUE", "-d", fmt.Sprintf("tcp.port==%d,http2", r.ports[1]), "-d", fmt.Sprintf("tcp.port==%d,tls", r.ports[2]), "-Y", "http or http2", "-T", "pdml")
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	found := newFound()
	decoder := xml.NewDecoder(out)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if start, is := token.(xml.StartElement); is && start.Name.Local == "packet" {
			var packet node
			must(t, decoder.DecodeElement(&packet, &start))
			found.packet(t, &packet)
		}
	}
	_ = c.Wait() // a file that was cut is an error, and what there was counts
	return found.lines()
}

// found gathers messages by TCP stream: HTTP/1 in their order, HTTP/2 by stream.
type found struct {
	one map[string]*[2][]message
	two map[string]*[2]message
}

func newFound() *found { return &found{map[string]*[2][]message{}, map[string]*[2]message{}} }

func (f *found) packet(t *testing.T, packet *node) {
	connection := packet.show("tcp.stream")
	for i := range packet.Nodes {
		switch proto := &packet.Nodes[i]; proto.Name {
		case "http":
			f.http1(t, connection, proto)
		case "http2":
			f.http2(t, connection, proto)
		}
	}
}

func (f *found) http1(t *testing.T, connection string, proto *node) {
	if f.one[connection] == nil {
		f.one[connection] = &[2][]message{}
	}
	messages := f.one[connection]
	var body []byte
	if data := proto.all("http.file_data"); len(data) > 0 {
		body = data[0].bytes(t)
	}
	if method := proto.show("http.request.method"); method != "" {
		messages[0] = append(messages[0], message{request: fmt.Sprintf("%s %s %s", method, proto.show("http.host"), proto.show("http.request.uri"))})
	} else if status := proto.show("http.response.code"); status != "" && (status[0] != '1' || status == "101") {
		messages[1] = append(messages[1], message{status: status, body: body})
	}
}

func (f *found) http2(t *testing.T, connection string, proto *node) {
	for _, frame := range proto.all("http2.stream") {
		id := frame.show("http2.streamid")
		key := connection + "/" + id
		if id == "" || id == "0" {
			continue
		}
		if f.two[key] == nil {
			f.two[key] = &[2]message{}
		}
		pair := f.two[key]
		if method := frame.show("http2.headers.method"); method != "" {
			pair[0].request = fmt.Sprintf("%s %s %s", method, frame.show("http2.headers.authority"), frame.show("http2.headers.path"))
		}
		status := frame.show("http2.headers.status")
		if status != "" && status[0] != '1' {
			pair[1].status = status
		}
		if pair[1].status != "" {
			f.body(t, frame, &pair[1])
		}
	}
}

// body adds a frame's data. The last frame of a body of several holds all of it once more.
func (f *found) body(t *testing.T, frame *node, answer *message) {
	if whole := frame.all("http2.body.reassembled.data"); len(whole) > 0 {
		answer.body = whole[0].bytes(t)
		return
	}
	for _, data := range frame.all("http2.data.data") {
		answer.body = append(answer.body, data.bytes(t)...)
	}
}

func (f *found) lines() (out []string) {
	line := func(request string, answer *message) string {
		if answer == nil || answer.status == "" {
			return request + " -"
		}
		return fmt.Sprintf("%s %s %s", request, answer.status, digest(answer.body))
	}
	for connection, messages := range f.one {
		for i, request := range messages[0] {
			var answer *message
			if i < len(messages[1]) {
				answer = &messages[1][i]
			}
			if answer != nil && answer.status == "101" { // the answer comes as stream 1
				answer = nil
				if pair := f.two[connection+"/1"]; pair != nil {
					answer = &pair[1]
				}
			}
			out = append(out, line(request.request, answer))
		}
	}
	for _, pair := range f.two {
		if pair[0].request != "" {
			out = append(out, line(pair[0].request, &pair[1]))
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(out, func(line string) bool { return strings.HasPrefix(line, " ") })
}
