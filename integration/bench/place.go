package main

import (
	"context"
	"net"
	"os/exec"
)

// place is where a server is started and reached.
type place interface {
	start(cmd *exec.Cmd) error
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// host is the place where the benchmark itself runs.
type host struct{}

func (host) start(cmd *exec.Cmd) error { return cmd.Start() }

func (host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}
