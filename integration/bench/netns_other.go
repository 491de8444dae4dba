//go:build !linux

package main

import "errors"

// netns is Linux's.
type netns struct{ host }

func newNetns() (*netns, error) { return nil, errors.New("network namespaces are Linux's") }

func (*netns) close() {}
