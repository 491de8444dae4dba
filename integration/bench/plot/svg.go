package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// width is of every figure.
const width = 800

// style has the colours of both schemes. Series differ in their dashes, too.
const style = `text{font:13px system-ui,sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:15px}.small{font-size:12px;fill:#59636e}.end{text-anchor:end}.mid{text-anchor:middle}
.back{fill:#ffffff}.grid{stroke:#d1d9e0;stroke-width:1}.goal{stroke:#1f2328;stroke-width:2}
.met{fill:#1a7f37}.missed{fill:#bc4c00}
.line{fill:none;stroke-width:2}.c0{stroke:#0969da}.c1{stroke:#bc4c00}.c2{stroke:#1a7f37}.c3{stroke:#8250df}.c4{stroke:#bf3989}
.line.c1{stroke-dasharray:7 3}.line.c2{stroke-dasharray:2 3}.line.c3{stroke-dasharray:10 3 2 3}.line.c4{stroke-dasharray:4 4}
.dot{stroke-width:4;stroke-linecap:round}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.back{fill:#0d1117}.grid{stroke:#3d444d}.goal{stroke:#f0f6fc}
.met{fill:#3fb950}.missed{fill:#f0883e}
.c0{stroke:#4493f8}.c1{stroke:#f0883e}.c2{stroke:#3fb950}.c3{stroke:#ab7df8}.c4{stroke:#f778ba}}
`

// colours is how many series a panel can tell apart.
const colours = 5

// drawing is an SVG file in the making.
type drawing struct{ bytes.Buffer }

// begin writes what all figures begin with.
func (d *drawing) begin(title, description string, height int) {
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title description">`+"\n", width, height)
	fmt.Fprintf(d, "<title id=\"title\">%s</title>\n<desc id=\"description\">%s</desc>\n", escaped(title), escaped(description))
	fmt.Fprintf(d, "<style>%s</style>\n<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n", style)
	d.text(16, 26, "title", title)
}

func (d *drawing) end() []byte {
	d.WriteString("</svg>\n")
	return d.Bytes()
}

func (d *drawing) text(x, y float64, class, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" class="%s">%s</text>`+"\n", x, y, class, escaped(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

func escaped(text string) string {
	var out bytes.Buffer
	// Writing to a buffer does not fail.
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}
