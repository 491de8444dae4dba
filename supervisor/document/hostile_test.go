package document

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

const bodyLimit = 4 << 20

func fill(unit string) string { return strings.Repeat(unit, bodyLimit/len(unit)) }

func numbered(format string, args int) string {
	var b strings.Builder
	for i := 0; b.Len() < bodyLimit; i++ {
		a := make([]any, args)
		for j := range a {
			a[j] = i
		}
		fmt.Fprintf(&b, format, a...)
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

var hostile = map[string]string{
	"flow sequences": fill("["), "flow mappings": fill("{a: "), "flow both": fill("[{a: "),
	"block entries": fill("- "), "explicit keys": fill("? "), "explicit values": fill(": "),
	"anchors": numbered("a%d: &a%d x\n", 2), "anchors flow": numbered("&a%d x,", 1),
	"aliases":     "a: &a x\nb: [" + fill("*a,") + "]",
	"merge keys":  "a: &a {b: c}\n" + fill("? <<: *a\n"),
	"merge lists": "a: &a {" + numbered("k%d: v,", 1)[:900_000] + "}\nb:\n  <<: [" + strings.Repeat("*a,", 1000) + "]\n",
	"list":        "[" + fill("a,") + "]", "set": "{" + fill("a,") + "}",
	"lines": fill("- a\n"), "empty": fill("-\n"), "keys": numbered("k%d: v\n", 1), "same keys": fill("k: v\n"),
	"long key": fill("k") + ": v", "long quoted key": `"` + fill("k") + `": v`, "long keys": fill(strings.Repeat("k", 2000) + ": v\n"),
	"long scalar": "a: " + fill("x"), "long words": "a: " + fill("x "), "long digits": "a: " + fill("1"), "long float": "a: 1." + fill("1_"),
	"staircase": staircase(10_000), "wide stairs": fill(strings.Repeat(" ", 1000) + "a:\n"),
	"spaces": fill(" "), "tabs": fill("\t"), "newlines": fill("\n"), "spaced": fill(strings.Repeat(" ", 511) + "a\n"),
	"comments": fill("# x\n"), "comment": fill("#"), "comments after": fill("a # x\n"), "comments in": "[" + fill("a, # x\n") + "]",
	"comments deep": "a:\n b:\n  c:\n   d: x\n" + fill("    # x\n") + "e: f\n", "comments under": fill("- # x\n  - a\n"),
	"comment stairs": fill("- a:\n    b: c\n    # x\n  # x\n# x\n"),
	"documents":      fill("---\n"), "more documents": fill("--- a\n"), "ends": fill("...\n"),
	"directives": numbered("%%TAG !a%d! tag:a,2000:\n", 1), "versions": fill("%YAML 1.1\n"),
	"tags": fill("!a "), "tagged": fill("- !a b\n"), "percent tags": "!" + fill("%41"),
	"quotes": fill(`"`), "quote": `"` + fill("a"), "quote lines": `"` + fill("a\n") + `"`, "single": fill("'"), "escapes": `"` + fill(`\x41`) + `"`,
	"literal": "a: |\n" + fill("  x\n"), "folded": "a: >\n" + fill("  x\n\n"), "blank literal": "a: |\n" + fill("\n"), "literals": fill("- |\n x\n"),
	"colons": fill(":"), "commas": fill(","), "dashes": fill("-"), "questions": fill("?"), "question flow": "{" + fill("?,"), "colon flow": "{" + fill(":,"),
	"closed": fill("[]"), "closers": fill("]"), "nulls": fill("\x00"), "bom": fill("\ufeff"), "not utf8": fill("\xff"),
	"expressions": "a: " + fill("${A}"), "opened expressions": "a: " + fill("${A:"), "nested expressions": "a: " + fill("${A:${B}"), "expressions closed once": "a: ${A} " + fill("${A:${B"),
	"private use": "a: ${A} " + fill("\ue000\ue001"), "hex": "a: ${A} " + fill("e0f0"),
	"expression keys": numbered("${A%d}: v\n", 1), "expression list": "[" + fill("${A},") + "]", "dollars": "a: " + fill("$"), "opened": "a: " + fill("${"), "escaped": "a: " + fill("${{A"),
	"json escapes": `{"a":"` + fill(`\/`) + `"}`, "json surrogates": `{"a":"` + fill(`\ud83d\ude00`) + `"}`,
	"bomb": bomb(30, 9), "big bomb": bomb(30, 2), "byte bomb": "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 50_000) + "]",
	"merge bomb": mergeBomb(), "self": "try: &p [*p]", "windows": fill("- a\r\n"), "nel": fill("a\u0085"),
}

func bomb(levels, width int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), width), ","))
	}
	return b.String()
}

func mergeBomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 {k0: v}\n")
	for i := 1; i < 30_000; i++ {
		fmt.Fprintf(&b, "a%d: &a%d {<<: *a%d, k%d: v}\n", i, i, i-1, i)
	}
	return b.String()
}

func TestTmpHostile(t *testing.T) {
	for name, text := range hostile {
		for fn, parse := range map[string]func([]byte) error{
			"doc": func(b []byte) error { _, err := Parse(b); return err },
			"set": func(b []byte) error { _, err := ParseSet(b); return err },
			"res": func(b []byte) error { _, err := ParseResources(b); return err },
		} {
			start := cpu()
			err := parse([]byte(text))
			d := cpu() - start
			msg := "<nil>"
			if err != nil {
				msg = err.Error()
			}
			if d > 150*time.Millisecond {
				fmt.Printf("%-22s %s %6dms %.110s\n", name, fn, d.Milliseconds(), msg)
			}
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
