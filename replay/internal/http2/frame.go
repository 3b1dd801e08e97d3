package http2

import (
	"encoding/binary"
	"fmt"
)

// The frame types of RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// The flags. END_STREAM and ACK share a bit, as no frame has both.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// The settings of section 6.5.2 that a client sends or obeys.
const (
	settingEnablePush    = 0x2
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4
	settingMaxFrame      = 0x5
)

const (
	frameHeader   = 9
	maxFrame      = 16 << 10  // the payload that every peer takes, and the most that is taken of a peer (section 4.2)
	maxStream     = 1<<31 - 1 // the highest stream id
	maxWindow     = 1<<31 - 1
	defaultWindow = 1<<16 - 1 // of connections and streams until told otherwise
)

// The error codes of section 7.
const (
	NoError uint32 = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Canceled // CANCEL: Cancel is a method's name
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codeNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
	"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

// CodeName is the name that RFC 9113 gives to an error code, or its number.
func CodeName(code uint32) string {
	if code < uint32(len(codeNames)) {
		return codeNames[code]
	}
	return fmt.Sprintf("code %#x", code)
}

// Error is what makes a connection of no use: the peer broke the protocol.
type Error struct {
	Code   uint32 // as the GOAWAY in Out says it
	Reason string
}

func (e *Error) Error() string { return "http2: " + CodeName(e.Code) + ": " + e.Reason }

// appendFrame appends a frame's header.
func appendFrame(b []byte, length int, kind, flags byte, id uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// appendNumber appends a frame whose payload is one number: RST_STREAM and WINDOW_UPDATE.
func appendNumber(b []byte, kind byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, kind, 0, id), n)
}

func appendGoAway(b []byte, code uint32) []byte {
	b = appendFrame(b, 8, frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 0) // the last stream of the peer's: a client that takes no push has seen none
	return binary.BigEndian.AppendUint32(b, code)
}

func appendSetting(b []byte, setting uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, setting), value)
}

func frameLength(f []byte) int { return int(f[0])<<16 | int(f[1])<<8 | int(f[2]) }

func frameStream(f []byte) uint32 { return binary.BigEndian.Uint32(f[5:]) & maxStream }

// want is how many bytes from a frame's first on must be there before it is looked at: all of them, but of DATA the
// header and the padding's length, as its payload is only counted. A frame too long for us is refused by its header.
func want(f []byte) int {
	if len(f) < frameHeader {
		return frameHeader
	}
	length := frameLength(f)
	switch {
	case length > maxFrame:
		return frameHeader
	case f[3] != frameData:
		return frameHeader + length
	case f[4]&flagPadded != 0 && length > 0:
		return frameHeader + 1
	}
	return frameHeader
}

// unpad takes the padding off the payload of a HEADERS frame; not ok where there is less payload than padding.
func unpad(payload []byte, flags byte) (rest []byte, ok bool) {
	if flags&flagPadded == 0 {
		return payload, true
	}
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return nil, false
	}
	return payload[1 : len(payload)-int(payload[0])], true
}
