package main

// series is a list of figures of one kind.
type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// moment is when something ended, in seconds from the first, and how long it
// took, in ms.
type moment struct {
	At   float64 `json:"at_s"`
	Took float64 `json:"took_ms"`
}

// samples are single figures, for the plots.
type samples struct {
	// Create is create → first call answered, in ms.
	Create []series `json:"create,omitempty"`
	// Requests is requests a second, by round.
	Requests []series `json:"requests,omitempty"`
	// Created is each create of the thousand streams, and Listed each list of
	// them meanwhile.
	Created []moment `json:"created,omitempty"`
	Listed  []moment `json:"listed,omitempty"`
}
