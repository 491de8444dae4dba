package rpc

// What a runner's binary does without a stream, for whoever starts it by hand or
// by the verbs of penstock. Each of the flags is the first argument.
const (
	// LintFlag has it answer one LintRequest after the other: JSON on its standard
	// input and output. It ends with its input, whatever it is doing then. The next
	// argument is how much memory it may take, in bytes; 0 is no bound. What
	// follows are the flags of the engine's own lint verb that hold for all of
	// the requests: -t and -e. It answers once before the first request: whether
	// those are in order.
	LintFlag = "--lint"
	// EngineFlag has it be the engine's own command line: the next argument is how
	// much memory it may take, what follows the verb, its flags and files.
	EngineFlag = "--engine"
)

// LintRequest is a file to lint, or templates to check.
type LintRequest struct {
	// Flags are flags of the engine's lint verb for this file alone.
	Flags []string `json:"flags,omitempty"`
	// File is the file's path; empty for none.
	File string `json:"file,omitempty"`
	// Config is what a runner would be given of the file, were it a stream's;
	// empty when it is none.
	Config []byte `json:"config,omitempty"`
	// Environment is what ${NAME} stands for in it, beside what the process has.
	Environment map[string]string `json:"environment,omitempty"`

	// Templates are checked under the Policy. The process can do this for one
	// policy only.
	Templates []Template       `json:"templates,omitempty"`
	Policy    *ComponentPolicy `json:"policy,omitempty"`
}

// LintAnswer is what is wrong with what a LintRequest is about.
type LintAnswer struct {
	// Failed says that the engine's lint verb has ended with an error.
	Failed bool `json:"failed,omitempty"`
	// Text is what that verb has written to its standard error.
	Text string `json:"text,omitempty"`
	// Lints are those of Config, in its positions, or those of the templates.
	Lints []Lint `json:"lints,omitempty"`
	// Fault is why there are no lints of the Config or the templates.
	Fault string `json:"fault,omitempty"`
}

// Template is a file that defines a component of the engine in terms of others.
type Template struct {
	// Path names it in errors.
	Path string `json:"path"`
	// Text is YAML.
	Text []byte `json:"text"`
}
