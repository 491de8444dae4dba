//go:build !linux

package main

// boot is never reached: the guest is Linux.
func boot() {}
