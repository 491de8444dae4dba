package options

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Bytes is a size. Its text is a number with a unit of 1024 (256MiB) or of
// 1000 (1GB), or a whole number of bytes. What UnmarshalText reads is not
// negative and below 8PiB.
type Bytes int64

// The units of 1024 that this package's ranges are written in.
const (
	kibibyte Bytes = 1 << 10
	mebibyte       = kibibyte << 10
	gibibyte       = mebibyte << 10
	tebibyte       = gibibyte << 10
	pebibyte       = tebibyte << 10
)

// sizeForm is what is taken of the many forms that humanize reads: no sign, no
// separators (it reads 1,5GB as 15GB), no leading zero, which is octal to YAML.
var sizeForm = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?( ?[A-Za-z]+)?$`)

// sizeExamples ends the messages about what is not a size.
const sizeExamples = "write for example 256MiB, 1GB or a whole number of bytes"

// UnmarshalText reads a size. Its error names the text and gives an example.
func (b *Bytes) UnmarshalText(text []byte) error {
	// humanize calculates in floating point, which is exact below this.
	const exact = 8 * pebibyte
	s := string(text)
	form := sizeForm.FindStringSubmatch(s)
	if len(form) == 0 || form[2] != "" && form[3] == "" {
		return fmt.Errorf("%s is not a size: %s", printable(s), sizeExamples)
	}
	n, err := humanize.ParseBytes(s)
	if err == nil && n < uint64(exact) {
		*b = Bytes(n)
		return nil
	}
	if _, unit := humanize.ParseBytes("1" + form[3]); unit != nil {
		return fmt.Errorf("%s is not a size: %s", printable(s), sizeExamples)
	}
	return fmt.Errorf("%s is too large a size: the largest is below %s", printable(s), exact)
}

// MarshalText writes what UnmarshalText reads as the same size.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String is the exact size as the smallest number that a unit makes of it.
func (b Bytes) String() string {
	number, unit := b, ""
	for _, units := range []struct {
		step  Bytes
		names []string
	}{
		{1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB"}},
		{1000, []string{"kB", "MB", "GB", "TB", "PB"}},
	} {
		rest := b
		for _, name := range units.names {
			if rest <= 0 || rest%units.step != 0 {
				break
			}
			if rest /= units.step; rest < number {
				number, unit = rest, name
			}
		}
	}
	return strconv.FormatInt(int64(number), 10) + unit
}
