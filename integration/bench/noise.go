package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// neighbours are streams that take what they can get.
var neighbours = []struct{ id, name, config string }{
	{"cpu", "a CPU hog", neverIdle(`mapping: root = range(0, 1000).fold(0, x -> (x.tally + x.value) % 7)`)},
	{"garbage", "an allocator", neverIdle(`mapping: root = range(0, 1000).map_each(n -> n.string().repeat(50)).join("")`)},
	{"log", "a log spammer", neverIdle(`log: {level: INFO, message: '${! "noise".repeat(100) }'}`)},
}

// neverIdle is a stream that does the same over and over, four times at once.
func neverIdle(processor string) string {
	return `input:
  generate:
    interval: ""
    mapping: root = ""
pipeline:
  threads: 4
  processors:
    - ` + processor + `
output:
  drop: {}
`
}

// What the streams of a careful operator have.
const (
	neighbourLimits = "runtime: {limits: {memory: 128MiB, cpu: 0.5, pids: 128}}\n"
	victimLimits    = "runtime: {limits: {cpu_weight: 1000}}\n"
)

// goalNoise is what the victim's p99 may be beside limited neighbours, relative
// to its p99 alone.
const goalNoise = 2

// settle is how long neighbours go on before the victim is measured.
const settle = 200 * time.Millisecond

const victimID = "victim"

// house is a server with a victim, and what its neighbours are limited to.
type house struct {
	*server
	name   string
	limits string
}

// crowd is who lives beside the victim, by their index.
type crowd []int

// crowds are nobody, each neighbour alone, and all of them.
func crowds() []crowd {
	out := []crowd{nil}
	var all crowd
	for i := range neighbours {
		out = append(out, crowd{i})
		all = append(all, i)
	}
	return append(out, all)
}

func (c crowd) String() string {
	switch len(c) {
	case 0:
		return "nobody"
	case 1:
		return neighbours[c[0]].name
	default:
		return fmt.Sprintf("all %d", len(c))
	}
}

// noise calls a stream, the victim, at a modest rate: alone and beside others,
// with limits and without, and in the reference.
func (b *bench) noise(ctx context.Context, rep *report) error {
	rep.Noise = &noiseReport{Goal: goalNoise, Rate: arrivalRate}
	var houses []house
	for _, h := range []struct {
		name           string
		start          func() (*server, error)
		victim, limits string
	}{
		{"Penstock, limits", func() (*server, error) { return b.startPenstock(ctx, host{}) }, victimLimits, neighbourLimits},
		{"Penstock, none", func() (*server, error) { return b.startPenstock(ctx, host{}) }, "", ""},
		{"reference", func() (*server, error) { return b.startStreamsMode(ctx) }, "", ""},
	} {
		s, err := h.start()
		if err != nil {
			return err
		}
		defer s.stop()
		if _, err := s.call(ctx, http.MethodPost, "/streams/"+victimID, streamConfig+h.victim); err != nil {
			if h.victim == "" {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			rep.Noise.LeftOut = fmt.Sprintf("%s is left out, since this host refuses them: %s", h.name, err)
			continue
		}
		if err := s.awaitAnswer(ctx, "/"+victimID+"/post", answer); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		houses = append(houses, house{server: s, name: h.name, limits: h.limits})
	}

	crowds := crowds()
	// heard[house][crowd] has one element for each round.
	all := make([][][]heard, len(houses))
	for i := range all {
		all[i] = make([][]heard, len(crowds))
	}
	for round := range b.opts.NoiseRounds {
		for c, crowd := range crowds {
			for i := range houses {
				at := (round + i) % len(houses)
				h, err := houses[at].hearBeside(ctx, crowd, b.opts.NoiseWindow)
				if err != nil {
					return fmt.Errorf("%s, beside %s: %w", houses[at].name, crowd, err)
				}
				rep.Answered += int64(len(h.took))
				all[at][c] = append(all[at][c], h)
			}
		}
	}
	for i, h := range houses {
		for c, crowd := range crowds {
			rep.Noise.Rows = append(rep.Noise.Rows, newNoiseRow(h.name, crowd.String(), all[i][c], all[i][0]))
		}
	}
	return nil
}

// hearBeside measures the victim beside others, which live that long only.
func (h house) hearBeside(ctx context.Context, c crowd, d time.Duration) (got heard, err error) {
	for _, i := range c {
		path := "/streams/" + neighbours[i].id
		if _, err := h.call(ctx, http.MethodPost, path, neighbours[i].config+h.limits); err != nil {
			return heard{}, err
		}
		defer func() {
			_, gone := h.call(ctx, http.MethodDelete, path, "")
			err = errors.Join(err, gone)
		}()
	}
	before := map[int]int64{}
	for _, i := range c {
		if before[i], err = h.awaitSent(ctx, neighbours[i].id, 1); err != nil {
			return heard{}, err
		}
	}
	if err := pause(ctx, settle); err != nil {
		return heard{}, err
	}
	if got, err = h.hear(ctx, steady("/"+victimID+"/post"), d); err != nil {
		return heard{}, err
	}
	for _, i := range c {
		if _, err := h.awaitSent(ctx, neighbours[i].id, before[i]+1); err != nil {
			return heard{}, err
		}
	}
	// The reference writes what its streams log to its own output, for ever.
	return got, os.Truncate(h.log, 0)
}

// awaitSent waits until a stream has sent so many messages.
func (s *server) awaitSent(ctx context.Context, id string, least int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		sent, err := s.sent(ctx, id)
		if err != nil || sent >= least {
			return sent, err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return 0, fmt.Errorf("stream %s has sent %d messages instead of %d: %w", id, sent, least, err)
		}
	}
}

// sent is how many messages a stream has given to its output. Penstock shows
// the statistics as a tree, the reference as a list.
func (s *server) sent(ctx context.Context, id string) (int64, error) {
	text, err := s.call(ctx, http.MethodGet, "/streams/"+id+"/stats", "")
	if err != nil {
		return 0, err
	}
	stats := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		return 0, fmt.Errorf("the stats of %s: %w: %s", id, err, text)
	}
	for name, value := range stats {
		var sent int64
		switch {
		case name == "output":
			tree := struct {
				Sent *int64 `json:"sent"`
			}{&sent}
			err = json.Unmarshal(value, &tree)
		case strings.HasPrefix(name, "output_sent{"):
			err = json.Unmarshal(value, &sent)
		default:
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%s in the stats of %s: %w: %s", name, id, err, text)
		}
		return sent, nil
	}
	return 0, nil // its output is not there yet
}
