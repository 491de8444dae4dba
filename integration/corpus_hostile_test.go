package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// hostileSteps: documents that no engine should see. The last one ends
// upstream's process.
func hostileSteps() []step {
	const key = "document-limits"
	return []step{
		ask("nested 90 deep", "POST /streams/a?chilled=true", nested(90), 200, nothing),
		ask("nested 120 deep", "POST /streams/b?chilled=true", nested(120), 200, nothing).
			except(key, 400, line("100")),
		ask("small, but large once expanded", "POST /streams/c?chilled=true", expanding(), 200, nothing).
			except(key, 400, line("100000")),
		ask("the same in a set", "POST /streams?chilled=true", "d:\n"+indent(expanding()), 200, nothing).
			except(key, 400, line("100000")),
		ask("a bomb", "POST /streams/e?chilled=true", bomb(), 400, saying("Error: ")),
		exchange("an alias that contains itself", "no answer", postLoop).
			exceptOutcome(key, "400"),
	}
}

// nested is a stream with a list inside lists.
func nested(depth int) string {
	return idleYAML + "deep: " + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "\n"
}

// expanding lists 2,000 words 60 times over, by an alias.
func expanding() string {
	return idleYAML + "words:\n  - &words [" + strings.Repeat("x,", 2000) + "]\n" +
		"  - [" + strings.Repeat("*words,", 60) + "]\n"
}

// bomb has 7 levels of aliases, each used 6 times: 280,000 nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString(idleYAML + "l0: &l0 [x]\n")
	for i := 1; i <= 7; i++ {
		ref := fmt.Sprintf("*l%d", i-1)
		fmt.Fprintf(&b, "l%d: &l%d [%s]\n", i, i, strings.Join([]string{ref, ref, ref, ref, ref, ref}, ", "))
	}
	return b.String()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// postLoop posts a processor whose children are the processor itself, and
// tells the status, if any comes back.
func postLoop(ctx context.Context, c *client) (string, error) {
	const config = `
input: {generate: {interval: 1h, mapping: 'root = {}'}}
pipeline:
  processors: &p
    - try: *p
output: {drop: {}}
`
	a, err := c.ask(ctx, request{Method: http.MethodPost, Path: "/streams/loop", Body: config})
	if err != nil {
		return "no answer", nil //nolint:nilerr // having none is the outcome
	}
	return fmt.Sprint(a.Status), nil
}
