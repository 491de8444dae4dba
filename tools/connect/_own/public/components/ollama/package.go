// Package ollama imports the components for ollama, which are under Apache-2.0;
// upstream's file of that name does not say that it is.
package ollama

import _ "github.com/redpanda-data/connect/v4/internal/impl/ollama"
