package supervisor

import (
	"fmt"
	"strconv"

	"penstock/supervisor/options"
)

// WarmPool is about runners that are started ahead, with nobody's config, for
// the next streams that need one.
type WarmPool struct {
	// Size is how many there are; WarmAuto is as many as were needed at once
	// lately, one at least.
	Size WarmSize `yaml:"size"`
	// Max is the most that WarmAuto makes of it, 1 to 1000.
	Max int `yaml:"max"`
	// Memory is the most that they take together, of which 0 is a sixteenth of
	// what all streams may have. No more are started than the host has room for in
	// any case: see LimitsConfig.HostMemoryShare.
	Memory options.Bytes `yaml:"memory"`
}

// WarmSize is a number of runners, or WarmAuto. Its text is the number or auto.
type WarmSize int

// WarmAuto leaves the number to the supervisor.
const WarmAuto WarmSize = -1

const (
	autoText    = "auto"
	maxWarmSize = 1000
)

// UnmarshalText reads a whole number or auto. Its error names the text.
func (s *WarmSize) UnmarshalText(text []byte) error {
	if string(text) == autoText {
		*s = WarmAuto
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return fmt.Errorf("%q is no number of runners: write a whole number, 0 for none, or auto", text)
	}
	*s = WarmSize(n)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s WarmSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the number, or auto.
func (s WarmSize) String() string {
	if s == WarmAuto {
		return autoText
	}
	return strconv.Itoa(int(s))
}

func (w *WarmPool) validate() []error {
	var errs []error
	if w.Size < WarmAuto || w.Size > maxWarmSize {
		errs = append(errs, fmt.Errorf("warm_pool.size is %d: it must be 0 to %d, or auto", w.Size, maxWarmSize))
	}
	if w.Max < 1 || w.Max > maxWarmSize {
		errs = append(errs, fmt.Errorf("warm_pool.max is %d: it must be 1 to %d; to have no pool, set warm_pool.size to 0", w.Max, maxWarmSize))
	}
	return errs
}
