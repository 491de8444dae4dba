package integration

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// repo is the root of the repository, seen from this package's folder.
const repo = ".."

func TestMakeHelpListsEveryTarget(t *testing.T) {
	help := runIn(t, repo, nil, "make", "help")
	for _, target := range []string{"build", "build-messaging", "build-connect", "run", "test", "check", "bench", "bench-report", "chaos", "test-cgroup2", "proto", "clean", "fuzz", "licenses", "tools"} {
		assert.Regexp(t, `(?m)^  make `+target+` +\S`, help)
	}
	assert.Equal(t, help, runIn(t, repo, nil, "make"), "make without a target is make help")
}

// The image's recipe, tried without a container engine: the steps of the
// builder stage are run on this machine, with /out replaced by a temporary
// folder, and all that the final stage copies must be there afterwards. What
// stays untried is what only an engine can do: pulling the base image,
// installing packages in it, ownership inside the image, and starting it.
func TestDockerfile(t *testing.T) {
	file := parseDockerfile(t)
	build, final := file.stage(t, "golang:"+goVersion(t)), file.stage(t, "scratch")
	const version = "v0.0.0-house"
	out := t.TempDir()
	for _, step := range build.all("RUN") {
		if !strings.Contains(step, "/out/") {
			continue // changes the builder's system, not what is built
		}
		step = regexp.MustCompile(`--mount=\S+ *`).ReplaceAllString(step, "")
		step = strings.ReplaceAll(step, "/out/", out+"/")
		runIn(t, repo, []string{
			"TARGETOS=linux", "TARGETARCH=" + runtime.GOARCH, "VERSION=" + version, "DATE=2001-02-03",
		}, "sh", "-ec", step)
	}

	// What the final stage holds: path in the image -> path on this machine,
	// empty for what comes from the builder's system.
	held := map[string]string{}
	system := strings.Join(build.all("RUN"), "\n")
	ignored := strings.Fields(readRepo(t, ".dockerignore"))
	for _, step := range final.all("COPY") {
		flags, paths := splitFlags(step)
		require.GreaterOrEqual(t, len(paths), 2, "COPY %s", step)
		sources, dest := paths[:len(paths)-1], paths[len(paths)-1]
		for _, source := range sources {
			at := dest
			if strings.HasSuffix(dest, "/") {
				at = path.Join(dest, path.Base(source))
			}
			local := ""
			switch {
			case !slices.Contains(flags, "--from=build"):
				assert.NotContains(t, ignored, source, ".dockerignore hides %s", source)
				local = filepath.Join(repo, source)
			case strings.HasPrefix(source, "/out/"):
				local = strings.Replace(source, "/out/", out+"/", 1)
			case source == "/etc/ssl/certs/ca-certificates.crt":
				assert.Contains(t, system, "ca-certificates", "the builder must install %s", source)
			case source == "/usr/share/zoneinfo":
				assert.Contains(t, system, "tzdata", "the builder must install %s", source)
			default:
				t.Errorf("nothing in the Dockerfile makes %s", source)
			}
			if local != "" {
				_, err := os.Stat(local)
				assert.NoError(t, err, "COPY %s", step)
			}
			held[at] = local
		}
	}
	assert.Contains(t, held, "/etc/ssl/certs/ca-certificates.crt")
	assert.Contains(t, held, "/usr/share/zoneinfo")

	entrypoint := argv(t, final.one(t, "ENTRYPOINT"))
	_, health, _ := strings.Cut(final.one(t, "HEALTHCHECK"), "CMD ")
	healthcheck := argv(t, health)
	for _, command := range [][]string{entrypoint, healthcheck} {
		require.Contains(t, held, command[0], "the image must hold what it starts")
	}
	commands, err := os.ReadDir(filepath.Join(repo, "cmd"))
	require.NoError(t, err)
	for _, command := range commands {
		require.Contains(t, held, path.Join(path.Dir(entrypoint[0]), command.Name()), "runners and the launcher are looked for beside penstock")
	}
	for at, local := range held {
		if path.Dir(at) == path.Dir(entrypoint[0]) {
			assertStatic(t, local)
		}
	}

	penstock := held[entrypoint[0]]
	told := runIn(t, repo, nil, penstock, "version")
	assert.Contains(t, told, version)
	assert.Contains(t, told, "2001-02-03")
	runIn(t, repo, nil, penstock, append(healthcheck[1:], "--help")...)
	command := argv(t, final.one(t, "CMD"))
	help := runIn(t, repo, nil, penstock, command[0], "--help")
	for _, arg := range command[1:] {
		if strings.HasPrefix(arg, "--") {
			assert.Contains(t, help, arg+" ", "penstock %s knows no %s", command[0], arg)
		}
	}
	assert.Contains(t, command, final.one(t, "VOLUME"), "the data folder is the volume")
	assert.Contains(t, command, "0.0.0.0:"+final.one(t, "EXPOSE"))
	// Root, to be strict: to give every stream a user of its own.
	assert.Equal(t, "0:0", final.one(t, "USER"))
	config := slices.Index(command, "--config") + 1
	require.Positive(t, config)
	assert.Contains(t, readText(t, held[command[config]]), "\n  profile: strict\n")
}

// assertStatic fails when a binary needs a loader or a shared library, neither
// of which an image from scratch has.
func assertStatic(t *testing.T, name string) {
	t.Helper()
	binary, err := elf.Open(name)
	require.NoError(t, err)
	defer binary.Close()
	for _, prog := range binary.Progs {
		assert.NotEqual(t, elf.PT_INTERP, prog.Type, "%s asks for a loader", name)
	}
	libraries, err := binary.ImportedLibraries()
	require.NoError(t, err)
	assert.Empty(t, libraries, name)
}

// A dockerfile is a list of stages, each a list of instructions.
type dockerfile [][]instruction

type instruction struct{ name, rest string }

type stage []instruction

func parseDockerfile(t *testing.T) dockerfile {
	t.Helper()
	var file dockerfile
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(readRepo(t, "Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if name == "FROM" {
			file = append(file, nil)
		}
		require.NotEmpty(t, file, "%s before the first FROM", name)
		last := len(file) - 1
		file[last] = append(file[last], instruction{name, strings.TrimSpace(rest)})
	}
	return file
}

// stage returns the stage that starts from an image.
func (f dockerfile) stage(t *testing.T, image string) stage {
	t.Helper()
	for _, s := range f {
		_, words := splitFlags(s[0].rest)
		if words[0] == image {
			return s
		}
	}
	require.Fail(t, "no stage starts from "+image)
	return nil
}

func (s stage) all(name string) []string {
	var found []string
	for _, in := range s {
		if in.name == name {
			found = append(found, in.rest)
		}
	}
	return found
}

func (s stage) one(t *testing.T, name string) string {
	t.Helper()
	found := s.all(name)
	require.Len(t, found, 1, "%s instructions", name)
	return found[0]
}

// splitFlags parts the --flags of an instruction from its words.
func splitFlags(rest string) (flags, words []string) {
	for _, word := range strings.Fields(rest) {
		if strings.HasPrefix(word, "--") {
			flags = append(flags, word)
		} else {
			words = append(words, word)
		}
	}
	return flags, words
}

// argv reads the exec form, which needs no shell: the image has none.
func argv(t *testing.T, text string) []string {
	t.Helper()
	var args []string
	require.NoError(t, json.Unmarshal([]byte(text), &args), "not in exec form: %s", text)
	require.NotEmpty(t, args)
	return args
}

// goVersion returns the Go release of go.mod, without the patch.
func goVersion(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readRepo(t, "go.mod"))
	require.NotNil(t, found, "go.mod names no Go version")
	return found[1]
}

func readRepo(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repo, name))
	require.NoError(t, err)
	return string(text)
}

// outsideMake is the environment without what the make that runs the tests
// would hand down to one that they start.
func outsideMake() []string {
	var env []string
	for _, entry := range os.Environ() {
		if key, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(key, "MAKE") && key != "MFLAGS" {
			env = append(env, entry)
		}
	}
	return env
}

// runIn runs a command to its end and returns what it printed.
func runIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(outsideMake(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}
