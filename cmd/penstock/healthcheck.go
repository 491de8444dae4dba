package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheckCommand() *cobra.Command {
	var base string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a server whether it answers",
		Long:  "Asks a server for /ping. The exit code is 0 when it answers 200 in time, else 1.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := positive(timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ping(ctx, base)
		},
	}
	cmd.Flags().StringVar(&base, "url", "http://127.0.0.1:4195", "the server to ask")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "the longest wait for the answer")
	return cmd
}

func ping(ctx context.Context, base string) error {
	target, err := endpoint(base, "/ping")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return fmt.Errorf("making the request GET %s: %w", target, err)
	}
	// A transport of its own, since the default one obeys HTTP_PROXY.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s to GET %s", resp.Status, target)
	}
	return nil
}
