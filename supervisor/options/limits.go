package options

import (
	"cmp"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Limits bound what one stream may use. A field that is zero does not limit.
// Swap goes with Memory: where Memory is set, a Swap of zero is no swap at all.
type Limits struct {
	// Memory is what the stream's processes and their files in memory may take
	// together, 32MiB to 4PiB.
	Memory Bytes `yaml:"memory" json:"memory,omitempty"`
	// Swap is what they may take beyond Memory, up to 4PiB. It needs Memory.
	Swap Bytes `yaml:"swap" json:"swap,omitempty"`
	// CPU is a number of cores, 0.01 to 1024.
	CPU float64 `yaml:"cpu" json:"cpu,omitempty"`
	// CPUWeight is the stream's share where cores are contended, 1 to 10000. The
	// kernel's default is 100.
	CPUWeight int `yaml:"cpu_weight" json:"cpu_weight,omitempty"`
	// PIDs is a number of processes and threads, 64 to 1000000: fewer than 64 end
	// the Go runtime.
	PIDs int `yaml:"pids" json:"pids,omitempty"`
	// IO is what is read and written of disks.
	IO IO `yaml:"io" json:"io,omitzero"`
	// NoFile is a number of open files of one process, 64 to 1048576.
	NoFile int `yaml:"nofile" json:"nofile,omitempty"`
	// Disk is what the stream's data folder may take, 1MiB to 4PiB.
	Disk Bytes `yaml:"disk" json:"disk,omitempty"`
}

// IO bounds reads and writes of each disk, per second.
type IO struct {
	// ReadBPS and WriteBPS are bytes a second, 4KiB to 4PiB.
	ReadBPS  Bytes `yaml:"read_bps" json:"read_bps,omitempty"`
	WriteBPS Bytes `yaml:"write_bps" json:"write_bps,omitempty"`
	// ReadIOPS and WriteIOPS are requests a second, 2 to 1000000000.
	ReadIOPS  int `yaml:"read_iops" json:"read_iops,omitempty"`
	WriteIOPS int `yaml:"write_iops" json:"write_iops,omitempty"`
}

const (
	// maxSize keeps sums of sizes far from an overflow.
	maxSize = 4 * pebibyte
	// minIOPS is the least that cgroup v2 takes.
	minIOPS = 2
	// maxIOPS is what the kernel's 32 bits hold, rounded down.
	maxIOPS = 1_000_000_000
	// kernelWeight is the weight of a stream that has none.
	kernelWeight = 100
)

// limit is one field of Limits, for what is the same for all of them. Numbers
// up to maxSize are exact in floating point.
type limit struct {
	name        string // with the object it is in: io.read_bps
	least, most float64
	read        func(d *decoder, n *yaml.Node, name string, f limit) (value float64, ok bool)
	get         func(Limits) float64
	set         func(*Limits, float64)
	text        func(float64) string
}

// allLimits are in the order of their declaration.
var allLimits = []limit{
	limitOf("memory", 32*mebibyte, maxSize, func(l *Limits) *Bytes { return &l.Memory }),
	limitOf("swap", 0, maxSize, func(l *Limits) *Bytes { return &l.Swap }),
	limitOf("cpu", 0.01, 1024.0, func(l *Limits) *float64 { return &l.CPU }),
	limitOf("cpu_weight", 1, 10_000, func(l *Limits) *int { return &l.CPUWeight }),
	limitOf("pids", 64, 1_000_000, func(l *Limits) *int { return &l.PIDs }),
	limitOf("io.read_bps", 4*kibibyte, maxSize, func(l *Limits) *Bytes { return &l.IO.ReadBPS }),
	limitOf("io.write_bps", 4*kibibyte, maxSize, func(l *Limits) *Bytes { return &l.IO.WriteBPS }),
	limitOf("io.read_iops", minIOPS, maxIOPS, func(l *Limits) *int { return &l.IO.ReadIOPS }),
	limitOf("io.write_iops", minIOPS, maxIOPS, func(l *Limits) *int { return &l.IO.WriteIOPS }),
	limitOf("nofile", 64, 1<<20, func(l *Limits) *int { return &l.NoFile }),
	limitOf("disk", mebibyte, maxSize, func(l *Limits) *Bytes { return &l.Disk }),
}

func limitOf[T Bytes | int | float64](name string, least, most T, field func(*Limits) *T) limit {
	read := readCount
	switch any(least).(type) {
	case Bytes:
		read = readSize
	case float64:
		read = readCores
	}
	return limit{
		name: name, least: float64(least), most: float64(most), read: read,
		get:  func(l Limits) float64 { return float64(*field(&l)) },
		set:  func(l *Limits, value float64) { *field(l) = T(value) },
		text: func(value float64) string { return fmt.Sprint(T(value)) },
	}
}

// ceiling returns what c permits of the field, and whether it bounds it.
func (f limit) ceiling(c Limits) (float64, bool) {
	value := f.get(c)
	return value, value != 0 || f.name == "swap" && c.Memory != 0
}

// Or returns the limits with what they leave out taken from the defaults. The
// swap is taken only together with the memory.
func (l Limits) Or(defaults Limits) Limits {
	if l.Memory != 0 {
		defaults.Swap = l.Swap
	}
	for _, f := range allLimits {
		f.set(&l, cmp.Or(f.get(l), f.get(defaults)))
	}
	return l
}

// Within returns the limits with none above the ceiling. Where the ceiling
// bounds what they leave out, the ceiling becomes the limit; for the swap, of
// which nothing means none, and for a weight that the kernel's default keeps,
// they stay as they are.
func (l Limits) Within(ceiling Limits) Limits {
	for _, f := range allLimits {
		most, bounded := f.ceiling(ceiling)
		value := f.get(l)
		switch {
		case !bounded:
		case value != 0:
			f.set(&l, min(value, most))
		case f.name == "cpu_weight" && most >= kernelWeight, f.name == "swap":
		default:
			f.set(&l, most)
		}
	}
	return l
}

// Names returns the fields that are set, those of IO as "io.read_bps".
func (l Limits) Names() []string {
	var names []string
	for _, f := range allLimits {
		if f.get(l) != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// Excess is a limit that is above a ceiling, both as text.
type Excess struct {
	Name, Value, Ceiling string
}

// Above returns every limit that is above the ceiling. What is not set is not
// above.
func (l Limits) Above(ceiling Limits) []Excess {
	var above []Excess
	for _, f := range allLimits {
		value := f.get(l)
		if most, bounded := f.ceiling(ceiling); bounded && value != 0 && value > most {
			above = append(above, Excess{f.name, f.text(value), f.text(most)})
		}
	}
	return above
}

// Faults returns one line for each field that is out of its range, which starts
// with the field's name, such as "memory is 1KiB: it must be 32MiB to 4PiB".
func (l Limits) Faults() []string {
	var faults []string
	for _, f := range allLimits {
		// Not a number is outside of every range.
		if value := f.get(l); value != 0 && !(value >= f.least && value <= f.most) {
			none := ", or 0 for no limit"
			if f.least == 0 {
				none = ""
			}
			faults = append(faults, fmt.Sprintf("%s is %s: it must be %s to %s%s",
				f.name, f.text(value), f.text(f.least), f.text(f.most), none))
		}
	}
	if l.Swap != 0 && l.Memory == 0 {
		faults = append(faults, "swap needs memory: set both, or neither")
	}
	return faults
}
