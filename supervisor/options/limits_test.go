package options_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/options"
)

const (
	mib = options.Bytes(1 << 20)
	gib = options.Bytes(1 << 30)
)

// every limit is set.
var every = options.Limits{
	Memory: gib, Swap: 64 * mib, CPU: 1.5, CPUWeight: 200, PIDs: 256,
	IO:     options.IO{ReadBPS: 10 * mib, WriteBPS: 5 * mib, ReadIOPS: 1000, WriteIOPS: 500},
	NoFile: 1024, Disk: 2 * gib,
}

var everyName = []string{"memory", "swap", "cpu", "cpu_weight", "pids",
	"io.read_bps", "io.write_bps", "io.read_iops", "io.write_iops", "nofile", "disk"}

func TestLimitsOfABlock(t *testing.T) {
	for text, want := range map[string]options.Limits{
		"{}": {},
		`
    memory: 1GiB
    swap: 64MiB
    cpu: 1.5
    cpu_weight: 200
    pids: 256
    io: {read_bps: 10MiB, write_bps: 5MiB, read_iops: 1000, write_iops: 500}
    nofile: 1024
    disk: 2GiB`: every,
		"{memory: 268435456}":           {Memory: 256 * mib},
		"{memory: '268435456'}":         {Memory: 256 * mib},
		"{memory: 32MiB, swap: 0}":      {Memory: 32 * mib},
		"{swap: 4PiB, memory: 1.5 GiB}": {Memory: 3 * gib / 2, Swap: 4 << 50},
		"{cpu: 2}":                      {CPU: 2},
		"{cpu: 0.01}":                   {CPU: 0.01},
		"{cpu: 1024}":                   {CPU: 1024},
		"{pids: 64, cpu_weight: 10000}": {PIDs: 64, CPUWeight: 10_000},
		"{io: {read_bps: 4096}}":        {IO: options.IO{ReadBPS: 4096}},
		"{io: {write_iops: 2}}":         {IO: options.IO{WriteIOPS: 2}},
	} {
		got, lints := parsed(t, "runtime:\n  limits: "+text)
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got.Limits, text)
	}
}

func TestLintsOfLimits(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a word", "runtime: {limits: none}", "1:19 field limits: expected object, got string none"},
		{"unknown", "runtime: {limits: {ram: 1GiB}}",
			"1:20 field ram not recognised, limits takes memory, swap, cpu, cpu_weight, pids, io, nofile and disk"},
		{"mistyped", "runtime: {limits: {memroy: 1GiB}}", "1:20 field memroy not recognised, did you mean memory?"},
		{"another spelling", "runtime: {limits: {cpuWeight: 1}}", "1:20 field cpuWeight not recognised, did you mean cpu_weight?"},
		{"of io, outside of it", "runtime:\n  limits:\n    read_bps: 1MB",
			"3:5 field read_bps not recognised, limits takes memory, swap, cpu, cpu_weight, pids, io, nofile and disk"},
		{"unknown of io", "runtime: {limits: {io: {bps: 1}}}", "1:25 field bps not recognised, io takes read_bps, write_bps, read_iops and write_iops"},
		{"mistyped of io", "runtime: {limits: {io: {write_iop: 1}}}", "1:25 field write_iop not recognised, did you mean write_iops?"},
		{"io, a size", "runtime: {limits: {io: 1MB}}", "1:24 field io: expected object, got string 1MB"},

		{"memory below", "runtime: {limits: {memory: 31MiB}}", "1:28 field memory: expected a size from 32MiB to 4PiB, got 31MiB"},
		{"memory, zero", "runtime: {limits: {memory: 0}}", "1:28 field memory: expected a size from 32MiB to 4PiB, got 0"},
		{"memory above", "runtime: {limits: {memory: 5PiB}}", "1:28 field memory: expected a size from 32MiB to 4PiB, got 5PiB"},
		{"memory, far above", "runtime: {limits: {memory: 18446744073709551616}}",
			"1:28 field memory: 18446744073709551616 is too large a size: the largest is below 8PiB"},
		{"memory, a fraction", "runtime: {limits: {memory: 1.5}}", "1:28 field memory: 1.5" + noSize},
		{"memory, negative", "runtime: {limits: {memory: -1}}", "1:28 field memory: -1" + noSize},
		{"memory, infinite", "runtime: {limits: {memory: .inf}}", "1:28 field memory: .inf" + noSize},
		{"memory, no size", "runtime: {limits: {memory: max}}", "1:28 field memory: max" + noSize},
		{"memory, empty", "runtime: {limits: {memory: ''}}", "1:28 field memory: \"\"" + noSize},
		{"memory, null", "runtime:\n  limits:\n    memory:\n", "3:12 field memory: expected a size such as 256MiB, got null"},
		{"memory, a boolean", "runtime: {limits: {memory: true}}", "1:28 field memory: expected a size such as 256MiB, got boolean"},
		{"memory, a list", "runtime: {limits: {memory: [1GiB]}}", "1:28 field memory: expected a size such as 256MiB, got array"},
		{"memory, a variable", "runtime: {limits: {memory: '${M}'}}", "1:28 field memory: ${M} " + variable},
		{"swap alone", "runtime: {limits: {swap: 1GiB}}", "1:26 field swap: swap needs memory: set the field memory, too, or remove swap"},
		{"no swap alone", "runtime: {limits: {swap: 0}}", "1:26 field swap: swap needs memory: set the field memory, too, or remove swap"},
		{"disk below", "runtime: {limits: {disk: 1023KiB}}", "1:26 field disk: expected a size from 1MiB to 4PiB, got 1023KiB"},
		{"bytes a second below", "runtime: {limits: {io: {read_bps: 4095}}}", "1:35 field read_bps: expected a size from 4KiB to 4PiB, got 4095"},

		{"cpu below", "runtime: {limits: {cpu: 0.009}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got 0.009"},
		{"cpu, zero", "runtime: {limits: {cpu: 0}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got 0"},
		{"cpu, negative", "runtime: {limits: {cpu: -1}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got -1"},
		{"cpu above", "runtime: {limits: {cpu: 1024.5}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got 1024.5"},
		{"cpu, infinite", "runtime: {limits: {cpu: .inf}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got .inf"},
		{"cpu, no number", "runtime: {limits: {cpu: .nan}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got .nan"},
		{"cpu, a false tag", "runtime: {limits: {cpu: !!float x}}", "1:25 field cpu: expected a number of cores from 0.01 to 1024, got x"},
		{"cpu, a word", "runtime: {limits: {cpu: 500m}}", "1:25 field cpu: expected number, got string 500m"},
		{"cpu, null", "runtime: {limits: {cpu: ~}}", "1:25 field cpu: expected number, got null"},
		{"cpu, an object", "runtime: {limits: {cpu: {max: 1}}}", "1:25 field cpu: expected number, got object"},
		{"cpu, a variable", "runtime: {limits: {cpu: '${C}'}}", "1:25 field cpu: ${C} " + variable},
		{"weight above", "runtime: {limits: {cpu_weight: 10001}}", "1:32 field cpu_weight: expected an integer from 1 to 10000, got 10001"},
		{"weight, a fraction", "runtime: {limits: {cpu_weight: 0.5}}", "1:32 field cpu_weight: expected integer, got number 0.5"},
		{"pids below", "runtime: {limits: {pids: 63}}", "1:26 field pids: expected an integer from 64 to 1000000, got 63"},
		{"iops, zero", "runtime: {limits: {io: {read_iops: 0}}}", "1:36 field read_iops: expected an integer from 2 to 1000000000, got 0"},
		{"files above", "runtime: {limits: {nofile: 1048577}}", "1:28 field nofile: expected an integer from 64 to 1048576, got 1048577"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, lints := parsed(t, c.text)
			assert.Equal(t, []string{c.want}, lints)
		})
	}
}

// One fault is one lint: a memory that is wrong is still there for the swap.
func TestSwapBesideFaultyMemory(t *testing.T) {
	_, lints := parsed(t, "runtime: {limits: {swap: 1GiB, memory: lots}}")
	assert.Equal(t, []string{"1:40 field memory: lots" + noSize}, lints)
}

func TestCeilings(t *testing.T) {
	const text = `runtime:
  limits:
    memory: 2GiB
    swap: 128MiB
    cpu: 2
    cpu_weight: 201
    pids: 257
    io: {read_bps: 11MiB, write_bps: 5243k, read_iops: 1001, write_iops: 501}
    nofile: 1025
    disk: 3GiB
`
	_, lints := allowed(t, text, options.Allowed{Ceiling: every})
	assert.Equal(t, []string{
		"3:13 field memory: 2GiB is above this server's ceiling, 1GiB",
		"4:11 field swap: 128MiB is above this server's ceiling, 64MiB",
		"5:10 field cpu: 2 is above this server's ceiling, 1.5",
		"6:17 field cpu_weight: 201 is above this server's ceiling, 200",
		"7:11 field pids: 257 is above this server's ceiling, 256",
		"8:20 field read_bps: 11MiB is above this server's ceiling, 10MiB",
		"8:38 field write_bps: 5243kB is above this server's ceiling, 5MiB",
		"8:56 field read_iops: 1001 is above this server's ceiling, 1000",
		"8:74 field write_iops: 501 is above this server's ceiling, 500",
		"9:13 field nofile: 1025 is above this server's ceiling, 1024",
		"10:11 field disk: 3GiB is above this server's ceiling, 2GiB",
	}, lints)

	// The ceiling itself is permitted, and what it does not name is not bounded.
	for _, by := range []options.Limits{{Memory: 2 * gib, Swap: 128 * mib, CPU: 2}, {CPUWeight: 201, NoFile: 1025}, {}} {
		_, lints = allowed(t, text, options.Allowed{Ceiling: by})
		if by.Memory == 0 || by.Swap != 0 {
			assert.Empty(t, lints, "%+v", by)
		}
	}
	// A ceiling of the memory is one of the swap, too.
	_, lints = allowed(t, text, options.Allowed{Ceiling: options.Limits{Memory: 4 * gib}})
	assert.Equal(t, []string{"4:11 field swap: 128MiB is above this server's ceiling, 0"}, lints)
}

func TestOr(t *testing.T) {
	none := options.Limits{}
	assert.Equal(t, every, none.Or(every))
	assert.Equal(t, every, every.Or(none))
	assert.Equal(t, none, none.Or(none))

	own := options.Limits{Memory: 64 * mib, CPU: 0.5, IO: options.IO{WriteBPS: mib}}
	want := every
	want.Memory, want.Swap, want.CPU, want.IO.WriteBPS = 64*mib, 0, 0.5, mib
	assert.Equal(t, want, own.Or(every), "the swap comes with the memory alone")
	assert.Equal(t, every, every.Or(own))
}

func TestWithin(t *testing.T) {
	none := options.Limits{}
	assert.Equal(t, every, every.Within(none))
	assert.Equal(t, every, every.Within(every))
	assert.Equal(t, none, none.Within(none))

	most := every
	most.Swap, most.CPUWeight = 0, 0
	assert.Equal(t, most, none.Within(every), "no swap, and the kernel's own weight, are within")

	low := options.Limits{Memory: 64 * mib, CPU: 0.5, CPUWeight: 50, PIDs: 64, NoFile: 64, Disk: mib,
		IO: options.IO{ReadBPS: 4096, WriteBPS: 4096, ReadIOPS: 2, WriteIOPS: 2}}
	assert.Equal(t, low, every.Within(low), "no swap is permitted where only a memory is")
	assert.Equal(t, low, none.Within(low), "the kernel's own weight is above")
	assert.Equal(t, options.Limits{CPU: 0.5, PIDs: 64}, options.Limits{CPU: 4}.Within(options.Limits{CPU: 0.5, PIDs: 64}))
	assert.Equal(t, options.Limits{CPU: 0.25}, options.Limits{CPU: 0.25}.Within(options.Limits{CPU: 0.5}))
}

func TestNames(t *testing.T) {
	assert.Empty(t, options.Limits{}.Names())
	assert.Equal(t, everyName, every.Names())
	assert.Equal(t, []string{"io.write_iops", "disk"}, options.Limits{Disk: 1, IO: options.IO{WriteIOPS: 1}}.Names())
}

func TestAbove(t *testing.T) {
	assert.Empty(t, every.Above(every))
	assert.Empty(t, every.Above(options.Limits{}))
	assert.Empty(t, options.Limits{}.Above(every))
	above := every.Above(options.Limits{Memory: gib / 2, CPU: 1, PIDs: 1000, IO: options.IO{ReadBPS: mib}})
	assert.Equal(t, []options.Excess{
		{Name: "memory", Value: "1GiB", Ceiling: "512MiB"}, {Name: "swap", Value: "64MiB", Ceiling: "0"},
		{Name: "cpu", Value: "1.5", Ceiling: "1"}, {Name: "io.read_bps", Value: "10MiB", Ceiling: "1MiB"},
	}, above)
}

func TestFaults(t *testing.T) {
	assert.Empty(t, options.Limits{}.Faults())
	assert.Empty(t, every.Faults())
	wrong := options.Limits{
		Memory: mib, Swap: 5 << 50, CPU: math.NaN(), CPUWeight: -1, PIDs: 1, NoFile: 1 << 30, Disk: -1,
		IO: options.IO{ReadBPS: 1, WriteBPS: 1, ReadIOPS: -1, WriteIOPS: 2_000_000_000},
	}
	assert.Equal(t, []string{
		"memory is 1MiB: it must be 32MiB to 4PiB, or 0 for no limit",
		"swap is 5PiB: it must be 0 to 4PiB",
		"cpu is NaN: it must be 0.01 to 1024, or 0 for no limit",
		"cpu_weight is -1: it must be 1 to 10000, or 0 for no limit",
		"pids is 1: it must be 64 to 1000000, or 0 for no limit",
		"io.read_bps is 1: it must be 4KiB to 4PiB, or 0 for no limit",
		"io.write_bps is 1: it must be 4KiB to 4PiB, or 0 for no limit",
		"io.read_iops is -1: it must be 2 to 1000000000, or 0 for no limit",
		"io.write_iops is 2000000000: it must be 2 to 1000000000, or 0 for no limit",
		"nofile is 1073741824: it must be 64 to 1048576, or 0 for no limit",
		"disk is -1: it must be 1MiB to 4PiB, or 0 for no limit",
	}, wrong.Faults())
	assert.Equal(t, []string{"swap needs memory: set both, or neither"}, options.Limits{Swap: mib}.Faults())
}
