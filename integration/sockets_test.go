package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// chunked posts a body piece by piece, its length unknown beforehand, and
// tells status and body of the answer.
func chunked(path string, pieces ...string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		body, pipe := io.Pipe()
		go func() {
			for _, p := range pieces {
				_, _ = io.WriteString(pipe, p)
			}
			pipe.Close()
		}()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path, body)
		if err != nil {
			return "", err
		}
		res, err := c.http.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s", res.StatusCode, got), err
	}
}

// lines posts messages to a stream while it holds its /get/stream open, and
// tells what lines come out there.
func lines(stream string, messages ...string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		// The answer's headers arrive with the first line only.
		posted := make(chan error, 1)
		go func() { posted <- postAll(ctx, c, stream, messages) }()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+stream+"/get/stream", http.NoBody)
		if err != nil {
			return "", err
		}
		res, err := c.http.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return "", fmt.Errorf("GET %s/get/stream answered %s", stream, res.Status)
		}
		var got []string
		reader := bufio.NewReader(res.Body)
		for range messages {
			text, err := reader.ReadString('\n')
			if err != nil {
				return "", err
			}
			got = append(got, strings.TrimSuffix(text, "\n"))
		}
		return strings.Join(got, "|"), <-posted
	}
}

func postAll(ctx context.Context, c *client, stream string, messages []string) error {
	for _, m := range messages {
		a, err := c.ask(ctx, request{Method: http.MethodPost, Path: stream + "/post", Body: m})
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK {
			return fmt.Errorf("POST %s/post answered %s", stream, a)
		}
	}
	return nil
}

// afterReader posts until a GET of /get has the message: whoever held the
// stream's output open before must not keep it once it has gone.
func afterReader(stream, message string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		var got answer
		err := poll(soonTimeout, func() (err error) {
			if err := postAll(ctx, c, stream, []string{message}); err != nil {
				return err
			}
			got, err = c.ask(ctx, request{Method: http.MethodGet, Path: stream + "/get"})
			if err == nil && got.Status != http.StatusOK {
				err = fmt.Errorf("GET %s/get answered %s", stream, got)
			}
			return err
		})
		return got.Text(), err
	}
}

// throughWebsocket sends a message into /post/ws of a stream and tells what
// comes out at its /get/ws.
func throughWebsocket(stream, message string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		out, err := dial(ctx, c, stream+"/get/ws")
		if err != nil {
			return "", err
		}
		defer out.Close()
		in, err := dial(ctx, c, stream+"/post/ws")
		if err != nil {
			return "", err
		}
		defer in.Close()
		if err := in.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			return "", err
		}
		_, got, err := out.ReadMessage()
		return string(got), err
	}
}

// conversation reads the welcome message of a websocket, then sends each
// message and reads its answer.
func conversation(path string, messages ...string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		conn, err := dial(ctx, c, path)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		_, welcome, err := conn.ReadMessage()
		if err != nil {
			return "", err
		}
		got := []string{string(welcome)}
		for _, m := range messages {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				return "", err
			}
			_, reply, err := conn.ReadMessage()
			if err != nil {
				return "", err
			}
			got = append(got, string(reply))
		}
		return strings.Join(got, ", "), nil
	}
}

// refusedSocket tells the status with which a websocket is refused.
func refusedSocket(path string) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		conn, res, err := websocket.DefaultDialer.DialContext(ctx, socketURL(c, path), nil)
		if err == nil {
			conn.Close()
			return "connected", nil
		}
		if res == nil {
			return "", err
		}
		return fmt.Sprint(res.StatusCode), res.Body.Close()
	}
}

// dial opens a websocket whose every read and write is bounded by one
// deadline.
func dial(ctx context.Context, c *client, path string) (*websocket.Conn, error) {
	conn, res, err := websocket.DefaultDialer.DialContext(ctx, socketURL(c, path), nil)
	if err != nil {
		if res != nil {
			err = errors.Join(fmt.Errorf("%w: %s", err, res.Status), res.Body.Close())
		}
		return nil, err
	}
	deadline := time.Now().Add(requestTimeout)
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	return conn, conn.SetWriteDeadline(deadline)
}

func socketURL(c *client, path string) string {
	return "ws" + strings.TrimPrefix(c.Base, "http") + path
}
