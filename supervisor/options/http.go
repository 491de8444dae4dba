package options

import (
	"net/url"

	"gopkg.in/yaml.v3"
)

// HTTP is how a stream's own endpoints are called.
type HTTP struct {
	// Async has calls be asynchronous that do not say themselves.
	Async bool
	// Callback is where the results of asynchronous calls are sent that do not
	// name another place: an http or https URL. Empty is nowhere.
	Callback string
}

func (d *decoder) http(n *yaml.Node, h *HTTP) {
	d.object(n, "http", []field{
		{"async", func(n *yaml.Node) { h.Async = d.boolean(n, "async") }},
		{"callback", func(n *yaml.Node) { h.Callback = d.url(n, "callback") }},
	})
}

// boolean reads true or false.
func (d *decoder) boolean(n *yaml.Node, name string) bool {
	if !d.scalar(n, name, "boolean", "!!bool") {
		return false
	}
	var value bool
	if n.Decode(&value) != nil {
		d.lint(n, "field %s: expected true or false, got %s", name, printable(n.Value))
	}
	return value
}

// url reads an absolute URL of http or https without a user.
func (d *decoder) url(n *yaml.Node, name string) string {
	if !d.scalar(n, name, "string", "!!str") {
		return ""
	}
	u, err := url.Parse(n.Value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		d.lint(n, "field %s: expected an http or https URL without a user, such as https://hooks.example.com/done, got %s", name, printable(n.Value))
		return ""
	}
	return n.Value
}
