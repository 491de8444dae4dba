package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// check looks at one answer.
type check func(answer) error

// all passes when every check does.
func all(checks ...check) check {
	return func(a answer) error {
		for _, c := range checks {
			if err := c(a); err != nil {
				return err
			}
		}
		return nil
	}
}

// comparison holds Penstock's answer against upstream's; the statuses are
// equal by then.
type comparison struct {
	compare func(theirs, ours answer) error
	// key is set when the comparison itself allows for a deliberate difference.
	key string
}

// nothing: neither has a body.
var nothing = comparison{compare: func(theirs, ours answer) error {
	if len(theirs.Body)+len(ours.Body) > 0 {
		return errors.New("want two empty bodies")
	}
	return nil
}}

// sameText: the same plain text but for white space around it.
var sameText = comparison{compare: func(theirs, ours answer) error {
	if theirs.Text() != ours.Text() {
		return fmt.Errorf("want the text %q", theirs.Text())
	}
	return sameMediaType(theirs, ours)
}}

// saying: both are plain text that has every part in it, Penstock's of one
// line; what else it says is each one's own.
func saying(parts ...string) comparison {
	return comparison{compare: func(theirs, ours answer) error {
		return errors.Join(sameMediaType(theirs, ours), has(parts...)(theirs), line(parts...)(ours))
	}}
}

// sameJSON: equal values.
var sameJSON = comparison{compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err == nil && !reflect.DeepEqual(a, b) {
		err = errors.New("the JSON values differ")
	}
	return errors.Join(err, sameMediaType(theirs, ours))
}}

// labelledJSON: upstream's answer is JSON called plain text; Penstock's is of
// the same shape.
var labelledJSON = comparison{key: "json-is-labelled", compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err == nil && !reflect.DeepEqual(shape(a), shape(b)) {
		err = fmt.Errorf("the shapes differ: %v and %v", shape(a), shape(b))
	}
	if theirs.MediaType() != "text/plain" || ours.MediaType() != "application/json" {
		err = errors.Join(err, fmt.Errorf("the media types are %q and %q", theirs.MediaType(), ours.MediaType()))
	}
	return err
}}

// versionOfBoth: Penstock's answer has what upstream's has, and names the
// runner's version besides.
var versionOfBoth = comparison{key: "json-is-labelled", compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err != nil {
		return err
	}
	told, ok := b.(map[string]any)
	if runner, _ := told["runner"].(string); !ok || runner == "" {
		return fmt.Errorf("no runner's version in %v", b)
	}
	delete(told, "runner")
	delete(told, "runners")
	if !reflect.DeepEqual(shape(a), shape(b)) {
		return fmt.Errorf("the shapes differ: %v and %v", shape(a), shape(b))
	}
	return nil
}}

// sameShape: equal keys, and values of equal JSON types.
var sameShape = comparison{compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err == nil && !reflect.DeepEqual(shape(a), shape(b)) {
		err = fmt.Errorf("the shapes differ: %v and %v", shape(a), shape(b))
	}
	return errors.Join(err, sameMediaType(theirs, ours))
}}

// sameStreams: the listing has the same streams, each with the same `active`,
// and uptimes that are uptimes.
var sameStreams = comparison{compare: func(theirs, ours answer) error {
	err := sameShape.compare(theirs, ours)
	if err != nil {
		return err
	}
	var a, b map[string]status
	if err := errors.Join(json.Unmarshal(theirs.Body, &a), json.Unmarshal(ours.Body, &b)); err != nil {
		return err
	}
	for id := range a {
		if a[id].Active != b[id].Active {
			return fmt.Errorf("active of stream %s differs", id)
		}
		if err := errors.Join(a[id].validUptime(), b[id].validUptime()); err != nil {
			return fmt.Errorf("stream %s: %w", id, err)
		}
	}
	return nil
}}

// sameStatus: the same `active` and `config` of one stream, and uptimes that
// are uptimes.
var sameStatus = comparison{compare: func(theirs, ours answer) error {
	err := sameShape.compare(theirs, ours)
	if err != nil {
		return err
	}
	var a, b status
	if err := errors.Join(json.Unmarshal(theirs.Body, &a), json.Unmarshal(ours.Body, &b)); err != nil {
		return err
	}
	if a.Active != b.Active || !reflect.DeepEqual(a.Config, b.Config) {
		return errors.New("active or config differ")
	}
	return errors.Join(a.validUptime(), b.validUptime())
}}

// status is what the API tells about a stream.
type status struct {
	Active    bool    `json:"active"`
	Uptime    float64 `json:"uptime"`
	UptimeStr string  `json:"uptime_str"`
	Config    any     `json:"config"`
}

// validUptime checks that both renderings are the same plausible duration.
func (s status) validUptime() error {
	text, err := time.ParseDuration(s.UptimeStr)
	if err != nil {
		return err
	}
	// Upstream looks at the clock twice.
	apart := (text - time.Duration(s.Uptime*float64(time.Second))).Abs()
	if s.Uptime < 0 || text > time.Hour || apart > time.Second {
		return fmt.Errorf("uptime %v and uptime_str %s do not fit", s.Uptime, s.UptimeStr)
	}
	return nil
}

// sameLints: the same findings in the same order, which Penstock gives under
// both keys.
var sameLints = comparison{key: "both-lint-keys", compare: func(theirs, ours answer) error {
	return compareLints(theirs, ours, slices.Equal[[]string])
}}

// sameLintSet: the same findings; upstream's order is that of a Go map.
var sameLintSet = comparison{key: "both-lint-keys", compare: func(theirs, ours answer) error {
	return compareLints(theirs, ours, func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	})
}}

func compareLints(theirs, ours answer, equal func(a, b []string) bool) error {
	var a, b map[string][]string
	if err := errors.Join(json.Unmarshal(theirs.Body, &a), json.Unmarshal(ours.Body, &b)); err != nil {
		return err
	}
	if len(a["lint_errors"]) == 0 || !equal(a["lint_errors"], b["lint_errors"]) {
		return errors.New("lint_errors differ")
	}
	if !slices.Equal(b["lint_errors"], b["linting_errors"]) || len(b) != 2 {
		return errors.New("penstock must give the lints under lint_errors and linting_errors, and no more")
	}
	return sameMediaType(theirs, ours)
}

// sameFlatStats: the same metrics, counters with the same values and timings
// with the same percentiles' names.
var sameFlatStats = comparison{compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err != nil {
		return err
	}
	left, right := a.(map[string]any), b.(map[string]any)
	if len(left) < 2 {
		return errors.New("upstream has no metrics to compare")
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(left)) {
		theirs, ours := left[key], right[key]
		if _, ok := right[key]; !ok {
			errs = append(errs, fmt.Errorf("penstock lacks %s", key))
			continue
		}
		if !reflect.DeepEqual(shape(theirs), shape(ours)) {
			errs = append(errs, fmt.Errorf("%s is %v instead of %v", key, ours, theirs))
			continue
		}
		if n, ok := theirs.(float64); ok && key != "uptime_ns" && n != ours {
			errs = append(errs, fmt.Errorf("%s is %v instead of %v", key, ours, n))
		}
	}
	for key := range right {
		if _, ok := left[key]; !ok {
			errs = append(errs, fmt.Errorf("upstream lacks %s", key))
		}
	}
	return errors.Join(append(errs, sameMediaType(theirs, ours))...)
}}

// sameWire: equal bodies and headers, as an endpoint of a stream must give.
var sameWire = comparison{compare: func(theirs, ours answer) error {
	if string(theirs.Body) != string(ours.Body) {
		return fmt.Errorf("the bodies differ: %d and %d bytes", len(theirs.Body), len(ours.Body))
	}
	if a, b := visible(theirs.Header), visible(ours.Header); !reflect.DeepEqual(a, b) {
		return fmt.Errorf("the headers differ:\n%v\n%v", a, b)
	}
	return nil
}}

// visible leaves out of the headers what depends on the moment or on how the
// body is framed.
func visible(h http.Header) http.Header {
	h = h.Clone()
	h.Del("Date")
	h.Del("Content-Length")
	if _, ok := h["Retry-After"]; ok {
		h.Set("Retry-After", "some seconds")
	}
	return h
}

// line: one line of plain text with every part in it.
func line(parts ...string) check {
	return func(a answer) error {
		if a.MediaType() != "text/plain" || a.Text() == "" || strings.Contains(a.Text(), "\n") {
			return fmt.Errorf("want one line of plain text, got %s", a)
		}
		return has(parts...)(a)
	}
}

// has: a body with every part in it.
func has(parts ...string) check {
	return func(a answer) error {
		for _, p := range parts {
			if !strings.Contains(string(a.Body), p) {
				return fmt.Errorf("%q is missing in %s", p, a)
			}
		}
		return nil
	}
}

// lint: a lint answer under both keys with the text in one of its findings.
func lint(text string) check {
	return all(has(text), func(a answer) error {
		return compareLints(a, a, func(_, _ []string) bool { return true })
	})
}

// jsonAt: JSON that has the value at a path of object keys.
func jsonAt(want any, path ...string) check {
	return func(a answer) error {
		v, err := a.JSON()
		if err != nil {
			return err
		}
		for _, key := range path {
			object, ok := v.(map[string]any)
			if !ok {
				return fmt.Errorf("no %s in %s", strings.Join(path, "."), a)
			}
			v = object[key]
		}
		if !reflect.DeepEqual(v, want) {
			return fmt.Errorf("%s is %v instead of %v", strings.Join(path, "."), v, want)
		}
		return nil
	}
}

// active: a stream's status with that value of `active`.
func active(want bool) check { return jsonAt(want, "active") }

// empty: no body.
func empty(a answer) error {
	if len(a.Body) > 0 {
		return fmt.Errorf("want no body, got %s", a)
	}
	return nil
}

func bothJSON(theirs, ours answer) (a, b any, err error) {
	a, errA := theirs.JSON()
	b, errB := ours.JSON()
	return a, b, errors.Join(errA, errB)
}

func sameMediaType(theirs, ours answer) error {
	if theirs.MediaType() != ours.MediaType() {
		return fmt.Errorf("the media types differ: %q and %q", theirs.MediaType(), ours.MediaType())
	}
	return nil
}

// shape replaces the leaves of a JSON value by their types; elements of an
// array count with their number and order.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = shape(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = shape(e)
		}
		return out
	default:
		return fmt.Sprintf("%T", v)
	}
}
