package document_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/document"
)

// bodyLimit is the size of the largest body that the API accepts by default.
const bodyLimit = 4 << 20

func fill(unit string) string { return strings.Repeat(unit, bodyLimit/len(unit)) }

// odd is for texts that are parsed to the end, which takes its time.
func odd(unit string) string { return strings.Repeat(unit, bodyLimit/8/len(unit)) }

// numbered fills the limit with a format that takes one number.
func numbered(format string) string {
	var b strings.Builder
	for i := 0; b.Len() < bodyLimit; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func staircase(depth int) string {
	var b strings.Builder
	for i := 0; i < depth && b.Len() < bodyLimit; i++ {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// bomb names, at each level, the level before it many times.
func bomb(levels, width int) string {
	b := &strings.Builder{}
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < levels; i++ {
		names := strings.Repeat(fmt.Sprintf("*a%d,", i-1), width)
		fmt.Fprintf(b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(names, ","))
	}
	return b.String()
}

// mergeChain grows a mapping by one key with each merge.
func mergeChain(length int) string {
	b := &strings.Builder{}
	b.WriteString("a0: &a0 {k0: v}\n")
	for i := 1; i < length; i++ {
		fmt.Fprintf(b, "a%d: &a%d {<<: *a%d, k%d: v}\n", i, i, i-1, i)
	}
	return b.String()
}

// mergeLists looks at many entries and takes few.
func mergeLists(lists, width int) string {
	return "a: &a {k: v, l: w}\nb:\n" + strings.Repeat("- <<: ["+strings.Repeat("*a,", width)+"]\n", lists)
}

// Texts that are refused, with a part of what the client is told.
var refused = map[string]struct{ text, want string }{
	"flow sequences":    {fill("["), "nests more than 100 deep"},
	"flow mappings":     {fill("{a: "), "nests more than 100 deep"},
	"both":              {fill("[{a: "), "nests more than 100 deep"},
	"just too deep":     {strings.Repeat("[", 101) + strings.Repeat("]", 101), "line 1, column 102: the document nests more than 100 deep"},
	"too deep by alias": {deepByAlias(), "line 2, column 23: the document nests more than 100 deep"},
	"block entries":     {fill("- "), "nests more than 100 deep"},
	"explicit keys":     {fill("? "), "nests more than 100 deep"},
	"explicit values":   {fill(": "), "nests more than 100 deep"},
	"staircase":         {staircase(10_000), "line 101, column 103: the document nests more than 100 deep"},
	"same stairs":       {odd(strings.Repeat(" ", 1000) + "a:\n"), "already defined at line 1"},
	"anchors":           {numbered("a: &a%d x\n"), "more than 100000 nodes"},
	"aliases":           {"a: &a x\nb: [" + fill("*a,") + "]", "more than 100000 nodes"},
	"merge keys":        {"a: &a {b: c}\n" + fill("? <<: *a\n"), "more than 100000 nodes"},
	"merge chain":       {mergeChain(2000), "expands to more than 100000 nodes"},
	"merge lists":       {mergeLists(3, 19_000), "expands to more than 100000 nodes: use fewer merge keys"},
	"list":              {"[" + fill("a,") + "]", "more than 100000 nodes"},
	"set":               {"{" + fill("a,") + "}", "more than 100000 nodes"},
	"keys in a flow":    {"{" + fill("?,"), "more than 100000 nodes"},
	"values in a flow":  {"{" + fill(":,"), "more than 100000 nodes"},
	"empty lists":       {fill("[]"), "more than 100000 nodes"},
	"lines":             {fill("- a\n"), "line 100001, column 1: the document has more than 100000 nodes"},
	"windows lines":     {fill("- a\r\n"), "line 100001, column 1: the document has more than 100000 nodes"},
	"empty entries":     {fill("-\n"), "more than 100000 nodes"},
	"keys":              {numbered("k%d: v\n"), "more than 100000 nodes"},
	"literals":          {fill("- |\n x\n"), "more than 100000 nodes"},
	"quotes":            {fill(`"`), "more than 100000 nodes"},
	"tagged":            {fill("- !a b\n"), "more than 100000 nodes"},
	"more documents":    {fill("--- a\n"), "more than 100000 nodes"},
	"commented entries": {fill("- # x\n  - a\n"), "more than 100000 nodes"},
	"expression keys":   {numbered("${A%d}: v\n"), "more than 100000 ${...} expressions"},
	"expression list":   {"[" + fill("${A},") + "]", "more than 100000 ${...} expressions"},
	"expressions":       {"a: " + fill("${A}"), "more than 100000 ${...} expressions"},
	"bomb":              {bomb(30, 9), "line 6, column 5: the document expands to more than 100000 nodes"},
	"slow bomb":         {bomb(60, 2), "expands to more than 100000 nodes"},
	"bomb of bytes":     {"a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 30_000) + "]", "aliases add more than 16 MiB"},
	"self":              {"try: &p [*p]", "the alias *p contains itself"},
	"documents":         {odd("---\n"), "more than one YAML document"},
	"ends":              {odd("...\n"), "yaml: "},
	"directives":        {numbered("%%TAG !a%d! tag:a,2000:\n"), "more than 16 directives"},
	"versions":          {fill("%YAML 1.1\n"), "more than 16 directives"},
	"tags":              {odd("!a "), "yaml: "},
	"open quote":        {`"` + odd("a"), "yaml: found unexpected end of stream"},
	"long key":          {odd("k") + ": v", "yaml: "},
	"long quoted key":   {`"` + odd("k") + `": v`, "yaml: "},
	"long keys":         {odd(strings.Repeat("k", 2000) + ": v\n"), "yaml: "},
	"colons":            {odd(":"), "yaml: "},
	"commas":            {odd(","), "yaml: "},
	"closers":           {odd("]"), "yaml: "},
	"tabs":              {fill("\t"), "yaml: "},
	"zeros":             {fill("\x00"), "yaml: control characters are not allowed"},
	"not UTF-8":         {fill("\xff"), "not UTF-8"},
	"open expressions":  {"a: " + odd("${A:"), "yaml: "},
}

// Texts that are odd and long, and still right.
var accepted = map[string]string{
	"a long word":            "a: " + odd("x"),
	"many words":             "a: " + odd("x "),
	"digits":                 "a: " + odd("1"),
	"a float":                "a: 1." + odd("1_"),
	"spaces":                 odd(" "),
	"lines":                  odd("\n"),
	"spaced":                 odd(strings.Repeat(" ", 511) + "a\n"),
	"comments":               odd("# x\n"),
	"a comment":              odd("#"),
	"deep comments":          "a:\n b:\n  c:\n   d: x\n" + odd("    # x\n") + "e: f\n",
	"escapes":                `"` + odd(`\x41`) + `"`,
	"apostrophes":            odd("'"),
	"a literal":              "a: |\n" + odd("  x\n"),
	"a folded":               "a: >\n" + odd("  x\n\n"),
	"an empty literal":       "a: |\n" + odd("\n"),
	"dashes":                 odd("-"),
	"questions":              odd("?"),
	"dollars":                "a: " + odd("$"),
	"escaped":                "a: " + odd("${{A"),
	"escaped, closed late":   "a: " + odd("${{A:") + "}" + odd("x") + "}",
	"opened":                 "a: " + odd("${"),
	"closed once":            "a: ${A} " + odd("${A:${B"),
	"half closed":            "a: " + odd("${A:${B}"),
	"private use":            "a: ${A} " + odd("\ue000\ue001"),
	"hexadecimal":            "a: ${A} " + odd("e0f0"),
	"json escapes":           `{"a":"` + odd(`\/`) + `"}`,
	"json surrogates":        `{"a":"` + odd(`\ud83d\ude00`) + `"}`,
	"anchors in one":         odd("&a x,"),
	"byte order marks":       odd("\ufeff"),
	"a bomb that did not go": bomb(4, 9),
	"a merge chain":          mergeChain(100),
}

func deepByAlias() string {
	return "a: &a " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\nb: " +
		strings.Repeat("[", 60) + "*a" + strings.Repeat("]", 60) + "\n"
}

// inTime fails the test when something takes far longer than linear time does
// on a busy machine.
func inTime(t *testing.T, run func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("still busy after two minutes")
	}
}

func TestHostileTextsAreRefused(t *testing.T) {
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			inTime(t, func() {
				_, err := document.Parse([]byte(c.text))
				var e *document.Error
				if assert.ErrorAs(t, err, &e) {
					assert.Contains(t, err.Error(), c.want)
					assert.NotContains(t, err.Error(), "\n")
					assert.Less(t, len(err.Error()), 300)
				}
			})
		})
	}
}

func TestHostileMembersAreRefused(t *testing.T) {
	for name, text := range map[string]string{"bomb": bomb(30, 9), "self": "x: {try: &p [*p]}", "deep": "x: " + fill("["), "merge chain": mergeChain(2000)} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func() {
				var e *document.Error
				_, err := document.ParseSet([]byte(text))
				assert.ErrorAs(t, err, &e)
				_, err = document.ParseResources([]byte(text))
				assert.ErrorAs(t, err, &e)
			})
		})
	}
}

func TestOddTextsAreAccepted(t *testing.T) {
	for name, text := range accepted {
		t.Run(name, func(t *testing.T) {
			inTime(t, func() {
				d, err := document.Parse([]byte(text))
				if assert.NoError(t, err) {
					_, _, err = d.Split("a")
					assert.NoError(t, err)
				}
			})
		})
	}
}

// The refusal itself must cost next to nothing: that is the guard's purpose.
func TestRefusalsAllocateLittle(t *testing.T) {
	for _, name := range []string{"flow sequences", "list", "bomb", "self", "merge chain", "aliases"} {
		text := []byte(refused[name].text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := document.Parse(text)
		runtime.ReadMemStats(&after)
		require.Error(t, err)
		// The text's copies and what 100,000 nodes at most can take.
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(text)+(16<<20)), name)
	}
}
