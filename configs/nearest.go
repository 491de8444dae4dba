package configs

import (
	"fmt"
	"strings"
)

// unknown is the message for a path that is no key, with the key it may have
// meant: the one of that name in another section, or the nearest in spelling.
func (s *schema) unknown(path string) string {
	best, bestDistance := "", 3 // More than two slips are another word.
	name := lastSegment(path)
	for _, known := range s.paths {
		distance := editDistance(path, known)
		if lastSegment(known) == name {
			distance = min(distance, 1)
		}
		if distance < bestDistance {
			best, bestDistance = known, distance
		}
	}
	if best == "" {
		return fmt.Sprintf("unknown key %q", path)
	}
	return fmt.Sprintf("unknown key %q: did you mean %q?", path, best)
}

func lastSegment(path string) string {
	return path[strings.LastIndexByte(path, '.')+1:]
}

// editDistance is Levenshtein's: how many bytes to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
