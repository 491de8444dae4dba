// Package cohere imports the components for cohere, which are under Apache-2.0;
// upstream's file of that name does not say that it is.
package cohere

import _ "github.com/redpanda-data/connect/v4/internal/impl/cohere"
