package supervisor

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckID(t *testing.T) {
	for id, valid := range map[string]bool{
		"foo": true, "A-Z_0.9": true, "_x": true, "-x": true, "a.b": true, strings.Repeat("a", 128): true,
		"": false, ".": false, "..": false, ".hidden": false, "a/b": false, "a b": false, "ä": false,
		"a\n": false, "a\x00": false, strings.Repeat("a", 129): false,
	} {
		err := checkID(id)
		if valid {
			assert.NoError(t, err, "%q", id)
			continue
		}
		assert.ErrorIs(t, err, ErrInvalid, "%q", id)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func FuzzCheckID(f *testing.F) {
	for _, seed := range []string{"foo", ".", "..", "a/../b", "a\x00b", strings.Repeat("x", 129)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if checkID(id) != nil {
			return
		}
		// What is accepted must be fit for a folder's name and a URL's path.
		if id == "" || len(id) > 128 || id[0] == '.' || strings.ContainsAny(id, "/\\ %?#\x00") {
			t.Fatalf("accepted %q", id)
		}
	})
}

func TestErrorsAreOneLineAndClassified(t *testing.T) {
	lint := &LintError{Lints: []string{"(1,1) field a not recognised", "(2,1) field b not recognised"}}
	set := &SetError{Failures: map[string]error{
		"b": &InvalidError{"no"}, "a": ErrExists,
	}}
	inUse := &InUseError{Streams: []string{"x", "y"}, Resources: []string{"cache/c"}}
	assert.ErrorIs(t, lint, ErrInvalid)
	assert.ErrorIs(t, set, ErrInvalid)
	assert.ErrorIs(t, set, ErrExists)
	busy := &addressInUseError{InvalidError{"busy"}, "127.0.0.1:80"}
	assert.ErrorIs(t, busy, ErrInvalid)
	assert.ErrorIs(t, busy, errAddressInUse)
	assert.Equal(t, "stream 'a': stream already exists; stream 'b': no", set.Error())
	assert.Equal(t, "in use by streams x, y and resources cache/c: change or delete these first", inUse.Error())
	for _, err := range []error{lint, set, inUse, errDeleted} {
		assert.NotContains(t, err.Error(), "\n")
	}
	assert.False(t, errors.Is(ErrConflict, ErrInvalid))
}
