package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// killed are attempts that end the program, on this processor.
var killed = map[string]func() error{
	// getpid of the x32 mode.
	"x32": func() error { return call(foreignBit | unix.SYS_GETPID) },
	// mov eax, 20; int 0x80; ret: getpid of the 32-bit mode.
	"int 0x80": func() error {
		code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return err
		}
		copy(code, []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3})
		entry := &code[0]
		function := &entry
		(*(*func())(unsafe.Pointer(&function)))()
		return nil
	},
}
