package process

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEffective(t *testing.T) {
	assert.Equal(t, []string{"B=2", "A=3", "C"}, effective([]string{"A=1", "B=2", "A=3", "C"}))
	assert.Empty(t, effective(nil))
}
