package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/gofiber/fiber/v2"
)

// served is a listener with the app that answers on it.
type served struct {
	*listener
	app *fiber.App
}

// Listen takes the address and returns it with the port that was chosen.
func (s *Server) Listen() (net.Addr, error) {
	l, err := s.listen("tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on http.listen %s: %w", s.cfg.Listen, err)
	}
	s.listeners = append(s.listeners, served{l, s.app})
	return l.Addr(), nil
}

// portTries is how many ports are tried until one is free on both loopback
// addresses.
const portTries = 32

// ListenFunctions takes a port that the kernel chooses, on 127.0.0.1 and,
// where there is IPv6, on ::1, and returns it. Only /ping and the streams' own
// endpoints answer there, below the root path as well: everything else is 404,
// so that a stream which can reach this port alone can call streams and not
// manage them. Who may call them is the same as on the address of Listen.
func (s *Server) ListenFunctions() (uint16, error) {
	for range portTries {
		v4, err := s.listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("listening on 127.0.0.1 for calls of streams: %w", err)
		}
		port := v4.Addr().(*net.TCPAddr).AddrPort().Port()
		v6, err := s.listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(int(port))))
		switch {
		case err == nil:
			s.listeners = append(s.listeners, served{v6, s.functions})
		case isAny(err, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT):
			// There is no IPv6.
		default:
			_ = v4.Close()
			if errors.Is(err, syscall.EADDRINUSE) {
				continue
			}
			return 0, fmt.Errorf("listening on ::1 for calls of streams: %w", err)
		}
		s.listeners = append(s.listeners, served{v4, s.functions})
		return port, nil
	}
	return 0, fmt.Errorf("listening for calls of streams: none of %d ports was free on both 127.0.0.1 and ::1", portTries)
}

// Serve answers requests until Shutdown, or until a listener fails. Listen and
// ListenFunctions come first.
func (s *Server) Serve() error {
	ended := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { ended <- l.app.Server().Serve(l.listener) }()
	}
	for range s.listeners {
		if err := <-ended; err != nil {
			return fmt.Errorf("serving HTTP: %w", err)
		}
	}
	return nil
}

// Shutdown stops accepting connections at once and waits for the requests
// that are being answered, until the context ends. What would not end by
// itself is ended: events, logs that are followed, websockets, and what waits
// for a stream's next message.
//
// Other requests to streams end when their runners do: where these are to be
// stopped, the supervisor is to be closed first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endLife()
	apps := []*fiber.App{s.app, s.functions}
	ended := make(chan error, len(apps))
	for _, app := range apps {
		go func() { ended <- app.ShutdownWithContext(ctx) }()
	}
	var err error
	for range apps {
		err = errors.Join(err, <-ended)
	}
	for _, l := range s.listeners {
		// Those that were never served.
		_ = l.Close()
	}
	if err != nil {
		return fmt.Errorf("ending HTTP requests: %w", err)
	}
	return nil
}
