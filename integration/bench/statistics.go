package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// percentile is by nearest rank: the smallest value that at least the share p,
// above 0 and at most 1, of all values do not exceed.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Ceil(p*float64(len(sorted))))-1]
}

// median is the middle value, or the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// resamples is how often interval draws anew.
const resamples = 2000

// interval is the middle 95 % of the medians of as many values drawn from these
// again and again: how far the median may be off by chance. The same values
// have the same interval.
func interval(values []float64) (low, high float64) {
	draw := rand.New(rand.NewPCG(1, uint64(len(values))))
	medians, drawn := make([]float64, resamples), make([]float64, len(values))
	for i := range medians {
		for j := range drawn {
			drawn[j] = values[draw.IntN(len(values))]
		}
		medians[i] = median(drawn)
	}
	return percentile(medians, 0.025), percentile(medians, 0.975)
}
