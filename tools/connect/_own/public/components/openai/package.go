// Package openai imports the components for openai, which are under Apache-2.0;
// upstream's file of that name does not say that it is.
package openai

import _ "github.com/redpanda-data/connect/v4/internal/impl/openai"
