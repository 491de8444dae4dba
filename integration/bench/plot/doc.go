// Package plot draws charts as SVG files that need nothing else: they follow
// the light or dark scheme of who looks at them, say in a title and a
// description what they show, and are the same for the same data. The benchmark
// draws its report with it.
package plot
