package document

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The expressions' syntax, as a regular expression says it.
var expressionSyntax = regexp.MustCompile(
	`\$\{(?:` + variableSyntax + `(?:\|[0-9A-Za-z]+)?|\{` + variableSyntax + `\})\}`)

const variableSyntax = `[0-9A-Za-z_.]+(?::(?:\$\{[^}]+\}|[^}])*)?`

var expressionTexts = []string{
	"", "${", "${}", "${A}", "x ${A.b_1} y", "${A:}", "${A:b}", "${A:b|c}", "${A|base64decode}", "${A|}", "${A|b c}", "${A b}",
	"${A:${B}}", "${A:${B}", "${A:${B:${C}}}", "${A:${}}", "${A:x${B}y${C}z}", "${A:${B}${C}", "${A:${B} ${C", "${A:\n b: c}\nd",
	"${{A}}", "${{A}", "${{A:b}}", "${{A:${B}}}", "${{A:${B}x}}", "${{A:}b}}", "${{}}", "${{A:${B}}", "${${A}}", "$${A}", "${A:$}", "${! json() }", "a: [${A}, ${B:1}]",
	"${A:}}", "${A}${A}", "${é}", "${A:é}", "${A", "${A:", "${A|", "${{A", "${{A:", "${A:}}${B}}", "${{A:{}}}",
}

func findExpressions(text []byte) [][]int {
	var found [][]int
	e := newExpressions(text)
	for from := 0; ; {
		start, end, more := e.next(from)
		if !more {
			return found
		}
		found = append(found, []int{start, end})
		from = end
	}
}

func TestExpressionsFollowTheSyntax(t *testing.T) {
	for _, text := range expressionTexts {
		assert.Equal(t, expressionSyntax.FindAllIndex([]byte(text), -1), findExpressions([]byte(text)), "%q", text)
	}
}

func FuzzExpressions(f *testing.F) {
	for _, text := range expressionTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "}") > 8 || len(text) > 4000 {
			return
		}
		assert.Equal(t, expressionSyntax.FindAllIndex([]byte(text), -1), findExpressions([]byte(text)), "%q", text)
	})
}
