package configs

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// unknown is the message for a path that is no key, with the key it may have
// meant: the one of that name in another section, or the nearest in spelling.
func (s *schema) unknown(path string) string {
	best, bestRank, bestDistance := "", 3, 0 // More than two slips are another word.
	name := lastSegment(path)
	for _, known := range s.paths {
		distance := levenshtein.ComputeDistance(path, known)
		rank := distance
		if lastSegment(known) == name {
			rank = min(rank, 1)
		}
		// Of several sections with a key of that name, the nearest.
		if rank < bestRank || rank == bestRank && best != "" && distance < bestDistance {
			best, bestRank, bestDistance = known, rank, distance
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
