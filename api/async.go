package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
	"penstock/supervisor/calls"
)

// asynchronous keeps a call that is to be carried out later, and answers it. It
// returns false for any other call, of which nothing was read.
func (s *Server) asynchronous(c *fiber.Ctx, stream string) (bool, error) {
	wanted, err := s.wantsAsync(c, stream)
	if err != nil || !wanted {
		return err != nil, err
	}
	s.processors.Other()
	body, err := s.callBody(c)
	if err != nil {
		return true, err
	}
	in := &c.Request().Header
	header := http.Header{}
	connection := string(in.Peek(fiber.HeaderConnection))
	for name, value := range s.endToEnd(c) {
		if !tokenIn(connection, name) {
			header.Add(string(name), string(value))
		}
	}
	header.Del(fiber.HeaderContentLength)
	callback := in.PeekAll(calls.CallbackHeader)
	if len(callback) > 1 {
		return true, fiber.NewError(fiber.StatusBadRequest, "Error: "+calls.CallbackHeader+" is there more than once: send one")
	}
	s.forwardedFor(c).set(header)
	header.Set(supervisor.RemoteAddrHeader, peerOf(c).text)
	call, err := s.streams.Submit(stream, calls.Request{
		Method: strings.Clone(c.Method()), Path: string(in.RequestURI()), Host: string(in.Host()),
		Header: header, Body: body, Callback: string(bytes.Join(callback, nil)),
	})
	if err != nil {
		return true, err
	}
	return true, s.sendCall(c.Status(fiber.StatusAccepted), call)
}

// wantsAsync says whether a call is to be carried out later: as it says itself,
// else as the config of its stream has it for calls that bring something.
func (s *Server) wantsAsync(c *fiber.Ctx, stream string) (bool, error) {
	upgrade := len(c.Request().Header.Peek(fiber.HeaderUpgrade)) > 0
	switch asked := c.Get(calls.AsyncHeader); {
	case strings.EqualFold(asked, "true") && upgrade:
		return false, fiber.NewError(fiber.StatusBadRequest, "Error: an upgrade to another protocol cannot be asynchronous: leave "+calls.AsyncHeader+" out")
	case strings.EqualFold(asked, "true"):
		return true, nil
	case strings.EqualFold(asked, "false"):
		return false, nil
	case asked != "":
		return false, fiber.NewError(fiber.StatusBadRequest, "Error: "+calls.AsyncHeader+" must be true or false")
	}
	reads := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	return !reads && !upgrade && s.streams.Asynchronous(stream), nil
}

// callBody reads the body of a call that is to be kept.
func (s *Server) callBody(c *fiber.Ctx) ([]byte, error) {
	limit := s.streams.MaxCallBody()
	if c.Request().Header.ContentLength() > limit {
		return nil, callTooLarge(limit)
	}
	body, err := io.ReadAll(io.LimitReader(bodyOf(c), int64(limit)+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(body) > limit:
		return nil, callTooLarge(limit)
	}
	return body, nil
}

func callTooLarge(limit int) error {
	return fmt.Errorf("%w: its body is larger than %d bytes, the server's calls.max_body: make it smaller, or call the stream without %s",
		supervisor.ErrCallTooLarge, limit, calls.AsyncHeader)
}

// sendCall answers with what there is to know of a call.
func (s *Server) sendCall(c *fiber.Ctx, call calls.Call) error {
	c.Set(fiber.HeaderLocation, call.Location)
	c.Set(calls.IDHeader, call.ID)
	c.Set(calls.StatusHeader, string(call.Status))
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(call)
}

// sendAnswer answers with what a stream has answered to a call.
func sendAnswer(c *fiber.Ctx, call calls.Call, answer calls.Answer) {
	out := c.Response()
	out.SetStatusCode(call.Result.StatusCode)
	out.Header.SetNoDefaultContentType(true)
	for name, values := range answer.Header {
		// The server sets this one by itself.
		if name == fiber.HeaderDate {
			continue
		}
		for _, value := range values {
			out.Header.Add(textproto.CanonicalMIMEHeaderKey(name), value)
		}
	}
	out.Header.Set(calls.IDHeader, call.ID)
	out.Header.Set(calls.StatusHeader, string(call.Status))
	out.Header.Set(calls.DurationHeader, fmt.Sprintf("%.6f", call.Result.DurationSeconds))
	out.SetBodyRaw(answer.Body)
}
