package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// setting is a value to be written to a file of a leaf.
type setting struct {
	limit string // its name, for errors
	path  string
	value string
	// holds tells whether a text that was read from the file is that value.
	holds func(text string) bool
	// before makes sure that the value may be written; nil is always.
	before func() error
	// usage is the file that says how much is in use, for memory.
	usage string
}

// apply writes what is not in force yet, and reads it back.
func apply(settings []setting) error {
	for _, s := range settings {
		if err := s.apply(); err != nil {
			return fmt.Errorf("%s: %w", s.limit, err)
		}
	}
	return nil
}

func (s setting) apply() error {
	text, err := read(s.path)
	if err != nil {
		return err
	}
	if s.holds(text) {
		return nil
	}
	if s.before != nil {
		if err := s.before(); err != nil {
			return err
		}
	}
	if err := write(s.path, s.value); err != nil {
		return s.explain(err)
	}
	if text, err = read(s.path); err != nil {
		return err
	}
	if !s.holds(text) {
		return fmt.Errorf("%w: %q was written to %s, which reads %q", ErrUnenforceable, s.value, s.path, text)
	}
	return nil
}

// explain adds to an error of the kernel what it means here.
func (s setting) explain(err error) error {
	switch {
	case errors.Is(err, unix.EBUSY) && s.usage != "":
		return busy(s.usage, s.value)
	case errors.Is(err, unix.EINVAL) && s.limit == "cpu":
		return fmt.Errorf("%w: %w: a cgroup above has a lower cpu limit: stay below that, or raise it", ErrUnenforceable, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the disk is gone: %w: start the server again", ErrUnenforceable, err)
	default:
		return err
	}
}

// busy is ErrBusy with the figures.
func busy(usage, limit string) error {
	used, err := readUint(usage)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	text := limit
	if n, err := strconv.ParseUint(limit, 10, 64); err == nil {
		text = humanize.IBytes(n)
	}
	return fmt.Errorf("%w: %s is in use and cannot be freed, the limit would be %s: choose a higher limit, or start the stream again with this one", ErrBusy, humanize.IBytes(used), text)
}

// exactly compares texts.
func exactly(value string) func(string) bool {
	return func(text string) bool { return text == value }
}

// pages compares bytes as the kernel keeps them: in whole pages, rounded down.
func pages(value int64) func(string) bool {
	want := value / int64(os.Getpagesize()) * int64(os.Getpagesize())
	return func(text string) bool {
		got, err := strconv.ParseInt(text, 10, 64)
		return err == nil && got == want
	}
}

// unlimitedBytes is what version 1 shows of "no limit", or less: the greatest
// number of pages there can be.
const unlimitedBytes = math.MaxInt64 / 2

// unlimited compares with what version 1 shows of "no limit".
func unlimited(text string) bool {
	got, err := strconv.ParseUint(text, 10, 64)
	return err == nil && got >= unlimitedBytes
}

// period is that of the CPU limit, in microseconds: the kernel's default. At
// the least limit there is, the quota is the kernel's least, 1 ms.
const period = 100000

func quota(cores float64) string { return strconv.FormatInt(int64(math.Round(cores*period)), 10) }

// cores are the limit that a quota and period are; 0 is none.
func cores(quota, period string) (float64, error) {
	if quota == "max" || quota == "-1" {
		return 0, nil
	}
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil {
		return 0, fmt.Errorf("the cpu quota %q is no number", quota)
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil || p <= 0 {
		return 0, fmt.Errorf("the cpu period %q is no number", period)
	}
	return q / p, nil
}

// orMax is a number, or "max" for none.
func orMax[T int | int64](value T) string {
	if value == 0 {
		return "max"
	}
	return strconv.FormatInt(int64(value), 10)
}

// fromMax is the other way round.
func fromMax(text string) (int64, error) {
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the limit %q is neither a number nor max", text)
	}
	return n, nil
}

// ofDevice is the rest of the line that begins with a device.
func ofDevice(text, device string) string {
	for line := range strings.Lines(text) {
		if key, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == device {
			return rest
		}
	}
	return ""
}

// ioKinds are the names of the IO limits in both versions, in the order of
// IO.figures.
var ioKinds = [4]struct{ v1, v2 string }{
	{"read_bps", "rbps"}, {"write_bps", "wbps"}, {"read_iops", "riops"}, {"write_iops", "wiops"},
}

func (io IO) figures() [4]int64 {
	return [4]int64{io.ReadBPS, io.WriteBPS, int64(io.ReadIOPS), int64(io.WriteIOPS)}
}

func ioOf(figures [4]int64) IO {
	return IO{ReadBPS: figures[0], WriteBPS: figures[1], ReadIOPS: int(figures[2]), WriteIOPS: int(figures[3])}
}

// pidsLimit reads what is the same in both versions.
func pidsLimit(l *Leaf, out *Limits) error {
	file := l.has("pids", "pids.max")
	if file == "" {
		return nil
	}
	text, err := read(file)
	if err != nil {
		return err
	}
	most, err := fromMax(text)
	out.PIDs = int(most)
	return err
}
