package options

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// limits reads the limits, of which none may be above the ceiling.
func (d *decoder) limits(n *yaml.Node, l *Limits, ceiling Limits) {
	var memory, swap *yaml.Node
	var fields, io []field
	for _, f := range allLimits {
		name, deeper := strings.CutPrefix(f.name, "io.")
		read := field{name, func(n *yaml.Node) {
			switch name {
			case "memory":
				memory = n
			case "swap":
				swap = n
			}
			d.limit(n, name, f, l, ceiling)
		}}
		if deeper {
			io = append(io, read)
			continue
		}
		fields = append(fields, read)
	}
	// Named where people look for it: among the others, in their order.
	at := slices.IndexFunc(fields, func(f field) bool { return f.name == "nofile" })
	fields = slices.Insert(fields, at, field{"io", func(n *yaml.Node) { d.object(n, "io", io) }})
	d.object(n, "limits", fields)
	if swap != nil && memory == nil {
		d.lint(swap, "field swap: swap needs memory: set the field memory, too, or remove swap")
	}
}

// limit reads one number into its place.
func (d *decoder) limit(n *yaml.Node, name string, f limit, l *Limits, ceiling Limits) {
	value, ok := f.read(d, n, name, f)
	if !ok {
		return
	}
	if most, bounded := f.ceiling(ceiling); bounded && value > most {
		d.lint(n, "field %s: %s is above this server's ceiling, %s", name, f.text(value), f.text(most))
		return
	}
	f.set(l, value)
}

func readCount(d *decoder, n *yaml.Node, name string, f limit) (float64, bool) {
	value := d.integer(n, name, int(f.least), int(f.most))
	return float64(value), value != 0
}

func readCores(d *decoder, n *yaml.Node, name string, f limit) (float64, bool) {
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!float" {
		if !d.scalar(n, name, "number", "!!int") {
			return 0, false
		}
	}
	var value float64
	// Not a number is outside of every range.
	if n.Decode(&value) != nil || !(value >= f.least && value <= f.most) {
		d.lint(n, "field %s: expected a number of cores from %s to %s, got %s", name, f.text(f.least), f.text(f.most), printable(n.Value))
		return 0, false
	}
	return value, true
}

func readSize(d *decoder, n *yaml.Node, name string, f limit) (float64, bool) {
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		if !d.scalar(n, name, "a size such as 256MiB", "!!str") {
			return 0, false
		}
	}
	var size Bytes
	if err := size.UnmarshalText([]byte(n.Value)); err != nil {
		d.lint(n, "field %s: %s", name, err)
		return 0, false
	}
	if value := float64(size); value >= f.least && value <= f.most {
		return value, true
	}
	d.lint(n, "field %s: expected a size from %s to %s, got %s", name, f.text(f.least), f.text(f.most), printable(n.Value))
	return 0, false
}
