package options_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]options.Bytes{
		"0": 0, "1": 1, "268435456": 256 << 20, "5b": 5, "7 B": 7,
		"256MiB": 256 << 20, "256 mib": 256 << 20, "256Mi": 256 << 20, "1.5GiB": 3 << 29, "0.5KiB": 512,
		"1GB": 1e9, "1g": 1e9, "250kB": 250e3, "3TB": 3e12, "4PiB": 4 << 50, "0MiB": 0,
		"9007199254740991": 8<<50 - 1,
	} {
		var got options.Bytes
		require.NoError(t, got.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, got, text)
	}
}

const noSize = " is not a size: write for example 256MiB, 1GB or a whole number of bytes"

func TestNoSizes(t *testing.T) {
	for text, want := range map[string]string{
		"":                      `""` + noSize,
		"MiB":                   "MiB" + noSize,
		"a lot":                 "a lot" + noSize,
		"1.5":                   "1.5" + noSize,
		"1e9":                   "1e9" + noSize,
		".5GiB":                 ".5GiB" + noSize,
		"1.GiB":                 "1.GiB" + noSize,
		"-1":                    "-1" + noSize,
		"-1GiB":                 "-1GiB" + noSize,
		"+1":                    "+1" + noSize,
		"1,5GB":                 "1,5GB" + noSize,
		"1_000":                 "1_000" + noSize,
		"010":                   "010" + noSize,
		"0x10":                  "0x10" + noSize,
		"5 megs":                "5 megs" + noSize,
		"5MiB ":                 "5MiB " + noSize,
		"5  MiB":                "5  MiB" + noSize,
		"5\nMiB":                "5\ufffdMiB" + noSize,
		"\u0665MiB":             "\u0665MiB" + noSize,
		".inf":                  ".inf" + noSize,
		"8PiB":                  "8PiB is too large a size: the largest is below 8PiB",
		"9007199254740992":      "9007199254740992 is too large a size: the largest is below 8PiB",
		"18446744073709551616":  "18446744073709551616 is too large a size: the largest is below 8PiB",
		"9999999999999999999EB": "9999999999999999999EB is too large a size: the largest is below 8PiB",
	} {
		got := options.Bytes(7)
		assert.EqualError(t, got.UnmarshalText([]byte(text)), want)
		assert.Equal(t, options.Bytes(7), got, "left alone: %q", text)
	}
}

func TestSizesAreWrittenShortAndExact(t *testing.T) {
	for size, want := range map[options.Bytes]string{
		0: "0", 1: "1", 999: "999", 1000: "1kB", 1024: "1KiB", 1500: "1500", 15_000: "15kB", 1536 << 20: "1536MiB",
		256 << 20: "256MiB", 1 << 30: "1GiB", 1e9: "1GB", 1e12: "1TB", 4 << 50: "4PiB", 8<<50 - 1: "9007199254740991",
		1_024_000: "1000KiB", 1<<63 - 1: "9223372036854775807", -5: "-5",
	} {
		assert.Equal(t, want, size.String())
	}
	text, err := json.Marshal(options.Limits{Memory: 256 << 20, CPU: 0.5, IO: options.IO{WriteBPS: 1e6}})
	require.NoError(t, err)
	assert.Equal(t, `{"memory":"256MiB","cpu":0.5,"io":{"write_bps":"1MB"}}`, string(text))
	text, err = json.Marshal(options.Limits{})
	require.NoError(t, err)
	assert.Equal(t, "{}", string(text))
}

// FuzzSize holds that what is read as a size is one that is written and read
// again as the same, and that nothing else changes it.
func FuzzSize(f *testing.F) {
	for _, text := range []string{"0", "256MiB", "1.5GiB", "1,5GB", "-1", "8PiB", "9007199254740991", "1e", "1 \u212aiB", "1e400B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size := options.Bytes(-1)
		if err := size.UnmarshalText([]byte(text)); err != nil {
			if size != -1 || err.Error() == "" {
				t.Fatalf("%q: %s, and the size is %d", text, err, size)
			}
			return
		}
		if size < 0 || size >= 8<<50 {
			t.Fatalf("%q is %d bytes", text, size)
		}
		var again options.Bytes
		if err := again.UnmarshalText([]byte(size.String())); err != nil || again != size {
			t.Fatalf("%q is %d bytes, and written as %s it is %d: %v", text, size, size, again, err)
		}
	})
}
