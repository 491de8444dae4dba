// Package serviceaccount stands where upstream has the credentials of its
// cloud, which are not under Apache-2.0. Kafka and the schema registry ask for
// them and are told that there are none.
package serviceaccount

import (
	"errors"
	"net/http"

	"golang.org/x/oauth2"
)

var errNone = errors.New("this runner holds no service account of Redpanda Cloud: that part of Redpanda Connect is not under Apache-2.0; use another mechanism of sasl")

// GetTokenSource always fails.
func GetTokenSource() (oauth2.TokenSource, error) {
	return nil, errNone
}

// GetHTTPClient always fails.
func GetHTTPClient() (*http.Client, error) {
	return nil, errNone
}
