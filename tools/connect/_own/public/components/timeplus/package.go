// Package timeplus imports the components for timeplus, which are under Apache-2.0;
// upstream's file of that name does not say that it is.
package timeplus

import _ "github.com/redpanda-data/connect/v4/internal/impl/timeplus"
