package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"penstock/configs"
	"penstock/supervisor"
)

// bannerTries is how many curl lines the banner holds.
const bannerTries = 3

// exampleURL is the server that the comments of stream files speak of.
const exampleURL = "http://127.0.0.1:4195"

// writeBanner tells a person how many streams there are, where the server is,
// what streams are kept in and what to try: the curl lines in the comments that streams' files begin
// with, one of each, made up to three by ones that always work.
func writeBanner(w io.Writer, addr net.Addr, cfg configs.Config, isolation string, streams int, files []supervisor.StreamFile) error {
	base := "http://" + reachable(addr.String())
	var tries []string
	if cfg.Supervisor.PrefixStreamEndpoints {
		for _, file := range files {
			if line, ok := curlLine(file.Text); ok {
				tries = append(tries, strings.ReplaceAll(line, exampleURL, base))
			}
		}
	}
	tries = append(tries,
		"curl "+base+"/streams",
		"curl "+base+`/streams/hello -d '{"input":{"generate":{"interval":"1s","mapping":"root = now()"}},"output":{"drop":{}}}'`,
		"curl "+base+"/streams/hello/status",
	)

	var b strings.Builder
	fmt.Fprintf(&b, "\nPenstock serves %d streams\n  streams    %s/streams\n  events     %s/events\n  ready      %s/ready\n  isolation  %s\nTry\n",
		streams, base, base, base, isolation)
	for _, line := range tries[:bannerTries] {
		if cfg.HTTP.Auth.TokenFile != "" {
			line = strings.ReplaceAll(line, "curl ",
				fmt.Sprintf(`curl -H "Authorization: Bearer $(cat '%s')" `, cfg.HTTP.Auth.TokenFile))
		}
		b.WriteString("  " + line + "\n")
	}
	leave := "Ctrl-C stops it and every stream\n\n"
	if cfg.Supervisor.OnExit == supervisor.OnExitDetach {
		leave = "Ctrl-C stops it, and the streams run on\n\n"
	}
	b.WriteString(leave)
	_, err := io.WriteString(w, b.String())
	return err
}

// curlLine returns the first comment at the head of a file that is a call of
// curl.
func curlLine(text []byte) (string, bool) {
	for line := range bytes.Lines(text) {
		comment, isComment := bytes.CutPrefix(bytes.TrimSpace(line), []byte("#"))
		comment = bytes.TrimSpace(comment)
		switch {
		case !isComment && len(comment) > 0:
			return "", false
		case bytes.HasPrefix(comment, []byte("curl ")):
			return string(comment), true
		}
	}
	return "", false
}

// reachable is an address to connect to for one that was listened on.
func reachable(addr string) string {
	bound, err := netip.ParseAddrPort(addr)
	if err != nil || !bound.Addr().IsUnspecified() {
		return addr
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if bound.Addr().Is6() {
		loopback = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(loopback, bound.Port()).String()
}
