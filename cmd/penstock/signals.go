package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signals returns two contexts: the first SIGINT or SIGTERM ends stop, the
// second ends kill. A third one has its usual effect, lest a fault in here keep
// the process alive. The function returned gives the signals back.
func signals(parent context.Context) (stop, kill context.Context, release func()) {
	stop, endStop := context.WithCancel(parent)
	kill, endKill := context.WithCancel(parent)
	received := make(chan os.Signal, 2)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	go func() {
		for _, end := range []context.CancelFunc{endStop, endKill} {
			select {
			case <-received:
				end()
			case <-kill.Done():
				return
			}
		}
		signal.Stop(received)
	}()
	return stop, kill, func() {
		signal.Stop(received)
		endStop()
		endKill()
	}
}
