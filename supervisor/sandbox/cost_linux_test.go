package sandbox

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkStart is what a start costs: of a small Go program by itself, and of
// the same program by the launcher in each profile. The difference is the
// sandbox.
func BenchmarkStart(b *testing.B) {
	program := []string{launcher, trialArgument}
	b.Run("exec", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command(program[0], program[1:]...).Run())
		}
	})
	mount := b.TempDir()
	for _, c := range []struct {
		name string
		plan Plan
	}{
		{"none", Plan{}},
		{"standard", Plan{Lock: true}},
		{"strict", Plan{Strict: &Strict{UID: tenant, GID: tenant, Mount: mount, TmpBytes: 1 << 20, Write: []string{b.TempDir()}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.plan.Strict != nil && os.Geteuid() != 0 {
				b.Skip("needs root")
			}
			c.plan.Program, c.plan.Args = program[0], program
			for b.Loop() {
				cmd, done, err := c.plan.Command(launcher)
				require.NoError(b, err)
				require.NoError(b, cmd.Run())
				done()
			}
		})
	}
}
