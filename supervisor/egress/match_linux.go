package egress

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// register is where each match loads what it compares.
const register = unix.NFT_REG_1

// fromUsers matches packets of sockets that these users opened. The kernel
// compares byte by byte, so that the number has to be in network order.
func fromUsers(first, last uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: register},
		&expr.Byteorder{SourceRegister: register, DestRegister: register, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Range{
			Op: expr.CmpOpEq, Register: register,
			FromData: binaryutil.BigEndian.PutUint32(first), ToData: binaryutil.BigEndian.PutUint32(last),
		},
	}
}

func protocol(op expr.CmpOp, number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: []byte{number}},
	}
}

// toPorts matches the destination port of one protocol, TCP or UDP.
func toPorts(number byte, ports PortRange) []expr.Any {
	match := append(protocol(expr.CmpOpEq, number),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
	first, last := binaryutil.BigEndian.PutUint16(ports.First), binaryutil.BigEndian.PutUint16(ports.Last)
	if ports.First == ports.Last {
		return append(match, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: first})
	}
	return append(match, &expr.Range{Op: expr.CmpOpEq, Register: register, FromData: first, ToData: last})
}

// toNetwork matches the destination address.
func toNetwork(prefix netip.Prefix) []expr.Any {
	family, offset, size := byte(unix.NFPROTO_IPV6), uint32(24), uint32(16)
	if prefix.Addr().Is4() {
		family, offset, size = unix.NFPROTO_IPV4, 16, 4
	}
	match := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{family}},
	}
	if prefix.Bits() == 0 {
		return match
	}
	match = append(match, &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size})
	if !prefix.IsSingleIP() {
		match = append(match, &expr.Bitwise{
			SourceRegister: register, DestRegister: register,
			Len: size, Mask: mask(prefix.Bits(), size), Xor: make([]byte, size),
		})
	}
	return append(match, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: prefix.Masked().Addr().AsSlice()})
}

func mask(bits int, size uint32) []byte {
	m := make([]byte, size)
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// toType matches what the routing tables say about the destination address:
// unix.RTN_LOCAL and the like.
func toType(kind uint32) []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: register, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(kind)},
	}
}

// overLoopback matches what leaves by the loopback interface. That is more than
// what the table of local routes knows: anycast addresses, and local routes in
// other tables. It is less, too, where rules lead to an own address by a wire.
func overLoopback() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFTYPE, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)},
	}
}

// inState matches packets that connection tracking has in that state, or with
// CmpOpEq those that it has not.
func inState(op expr.CmpOp, bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register,
			Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: op, Register: register, Data: make([]byte, 4)},
	}
}

// inReply matches packets of flows that somebody else began.
func inReply() []expr.Any {
	const reply = 1
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{reply}},
	}
}
