package main

import (
	"io"
	"os"
)

// palette colours words for a terminal, or leaves them as they are.
type palette bool

// colors colours what goes where out goes, when that is a terminal whose user has
// not asked for none.
func colors(out io.Writer) palette {
	_, plain := os.LookupEnv("NO_COLOR")
	return palette(isTerminal(out) && !plain && os.Getenv("TERM") != "dumb")
}

func (p palette) red(text string) string    { return p.paint("31", text) }
func (p palette) green(text string) string  { return p.paint("32", text) }
func (p palette) yellow(text string) string { return p.paint("33", text) }

func (p palette) paint(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
