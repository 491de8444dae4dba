package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// driveScaled keeps six calls under way until there are three processes, and then
// waits until there is one again.
func driveScaled(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 2)
	assert.Regexp(t, `^{"answered":\d+}$`, told[0])
	assert.Contains(t, told[1], `"replicas":{"min":1,"max":3,`)
	call := request{Method: http.MethodPost, Path: "/scaled/post", Body: "x"}
	await(t, changeTimeout, "three runners", func() error {
		var calls []<-chan answer
		for range 6 {
			calls = append(calls, background(t, run.client, call))
		}
		for _, call := range calls {
			a := replied(t, call)
			assert.Equal(t, http.StatusOK, a.Status, "%s", a)
		}
		if now := replicasNow(t, run.client, "scaled"); now.Running != 3 {
			return fmt.Errorf("it has %+v", now)
		}
		return nil
	})
	awaitReplicas(t, run.client, "scaled", 1)
	run.expect(t, http.StatusOK, http.MethodPost, "/scaled/post", "x")
}
