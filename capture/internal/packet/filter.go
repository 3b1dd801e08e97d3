package packet

import (
	"slices"

	"golang.org/x/net/bpf"
)

// packetOutgoing is PACKET_OUTGOING of linux/if_packet.h: a packet that the host sent.
const packetOutgoing = 4

// maxPorts keeps the program below the 4096 instructions that the kernel takes.
const maxPorts = 256

// filter is a kernel filter for Ethernet frames that carry TCP from or to one of the ports, or any TCP where there are none; also
// behind VLAN tags. Fragments, and IPv6 with extension headers, come through whatever is in them. It drops what the host sent
// where incoming is asked for, and keeps snap bytes of each packet.
func filter(ports []int, incoming bool, snap uint32) []bpf.Instruction {
	keep := bpf.RetConstant{Val: snap}
	var program []bpf.Instruction
	if incoming {
		program = append(program,
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packetOutgoing, SkipTrue: 1},
			bpf.RetConstant{})
	}
	// X counts the bytes of the VLAN tags, and A holds the EtherType behind them.
	program = append(program, bpf.LoadConstant{Dst: bpf.RegX, Val: 0}, bpf.LoadAbsolute{Off: 12, Size: 2})
	for tags := range uint32(2) {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherVLAN, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherQinQ, SkipTrue: 1},
			bpf.Jump{Skip: 2},
			bpf.LoadConstant{Dst: bpf.RegX, Val: (tags + 1) * vlanTag},
			bpf.LoadIndirect{Off: 12, Size: 2})
	}
	program = append(program, when([]uint32{etherIPv4}, filterIPv4(ports, keep))...)
	program = append(program, when([]uint32{etherIPv6}, filterIPv6(ports, keep))...)
	return append(program, bpf.RetConstant{})
}

// when runs the body, which must not fall through, where A is one of the values.
func when(values []uint32, body []bpf.Instruction) []bpf.Instruction {
	var test []bpf.Instruction
	for i, v := range values {
		test = append(test, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	return slices.Concat(test, []bpf.Instruction{bpf.Jump{Skip: uint32(len(body))}}, body)
}

func filterIPv4(ports []int, keep bpf.RetConstant) []bpf.Instruction {
	return slices.Concat([]bpf.Instruction{
		bpf.LoadIndirect{Off: ethernetHeader + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 1},
		bpf.RetConstant{},
		bpf.LoadIndirect{Off: ethernetHeader + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1},
		keep, // a later fragment, which has no ports
		bpf.LoadIndirect{Off: ethernetHeader, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{},
	}, filterPorts(ports, ethernetHeader, keep))
}

func filterIPv6(ports []int, keep bpf.RetConstant) []bpf.Instruction {
	extensions := []uint32{protoHopByHop, protoRouting, protoFragment, protoAH, protoDestination}
	return slices.Concat(
		[]bpf.Instruction{bpf.LoadIndirect{Off: ethernetHeader + 6, Size: 1}},
		when([]uint32{protoTCP}, filterPorts(ports, ethernetHeader+40, keep)),
		when(extensions, []bpf.Instruction{keep}),
		[]bpf.Instruction{bpf.RetConstant{}})
}

// filterPorts keeps a packet whose TCP header stands at X+offset if one of its ports is wanted.
func filterPorts(ports []int, offset uint32, keep bpf.RetConstant) []bpf.Instruction {
	if len(ports) == 0 {
		return []bpf.Instruction{keep}
	}
	var program []bpf.Instruction
	for side := range uint32(2) {
		program = append(program, bpf.LoadIndirect{Off: offset + 2*side, Size: 2})
		for _, port := range ports {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1}, keep)
		}
	}
	return append(program, bpf.RetConstant{})
}
