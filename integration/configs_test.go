package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// configFolder holds the configs that TestConfigs is about. The header of each
// says which runner has all its components.
const configFolder = "testdata/configs"

// configTimeout bounds what a config takes to do what is to be seen of it,
// beside all other tests.
const configTimeout = time.Minute

var configRunner = regexp.MustCompile(`(?m)^# Runner: (core|messaging|connect)$`)

// Addresses that the configs name as their readers would; a test puts those of
// its own servers in their place.
const (
	configWeb  = "http://localhost:8080"
	configTemp = "/tmp/penstock"
)

// configServers are the servers of the configs and how each is started.
var configServers = map[string]func(t testing.TB) string{
	"localhost:9092":                                     startKafka,
	"redis://localhost:6379":                             startRedis,
	"nats://localhost:4222":                              startNATS,
	"tcp://localhost:1883":                               startMosquitto,
	"amqp://guest:guest@localhost:5672/":                 startRabbitMQ,
	"postgres://localhost:5432/postgres?sslmode=disable": startPostgres,
	"http://localhost:9000":                              startS3,
}

// configCase is what is to be seen of a config that runs. Whatever it is not
// about is not set.
type configCase struct {
	// Given are files that are there beforehand, Serve what the other
	// services answer, by path; "" is that they fail.
	Given, Serve map[string]string
	// Setup is a processor that another stream carries out beforehand, once.
	Setup string
	// By is the output of another stream by which Feed gets to the config; if
	// it is not set, Feed is posted to the config's own http_server. AtOnce is
	// all messages at the same time.
	By     string
	Feed   []string
	AtOnce bool
	// Told is what each post is answered.
	Told []string
	// Seen is the input of another stream that posts what it reads to /seen;
	// Then is one that is started when all was fed.
	Seen, Then string
	// Got is what the other services are posted, by path, in any order; Files
	// is what is in files at the end.
	Got   map[string][]string
	Files map[string]string
	// Ask is a processor of another stream, which answers Answer at the end.
	Ask, Answer string
	// Check is for what cannot be said so.
	Check func(t *testing.T, run *configRun)
}

// configRun is a config that runs.
type configRun struct {
	*penstock
	id, dir string
	web     *web
	// local puts the test's own addresses in the place of a config's.
	local *strings.Replacer
}

// web is the other services that the configs speak of: it keeps what it is
// posted and answers what it is to serve.
type web struct {
	*httptest.Server
	serve map[string]string

	mu  sync.Mutex
	got map[string][]string
	at  []time.Time // when each post came
}

// ServeHTTP implements http.Handler.
func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.got[r.URL.Path] = append(s.got[r.URL.Path], string(body))
	s.at = append(s.at, time.Now())
	s.mu.Unlock()
	answer, known := s.serve[r.URL.Path]
	if known && answer == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, answer)
}

// posted is what has come at a path so far.
func (s *web) posted(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got[path])
}

// awaitPosted waits until exactly the messages have come at a path, in any
// order.
func (s *web) awaitPosted(t testing.TB, path string, messages ...string) {
	t.Helper()
	await(t, configTimeout, "what comes at "+path, func() error {
		got := slices.Sorted(slices.Values(s.posted(path)))
		if want := slices.Sorted(slices.Values(messages)); !slices.Equal(want, got) {
			return fmt.Errorf("%q instead of %q", got, want)
		}
		return nil
	})
}

// TestConfigs creates a stream of each config of testdata/configs: it is linted,
// the catalogue chooses the runner that its header names, and it does what its
// header says where its servers can run here.
func TestConfigs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(configFolder, "*.yaml"))
	require.NoError(t, err)
	ids := make([]string, 0, len(files))
	for _, file := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	for id := range configCases {
		assert.Contains(t, ids, id, "a case without a config")
	}
	assert.GreaterOrEqual(t, len(ids), 40)
	assert.GreaterOrEqual(t, len(configCases), 20)
	p := startConnected(t, patient...)
	t.Run("each", func(t *testing.T) {
		for _, id := range ids {
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				runConfig(t, p, id)
			})
		}
	})
}

func runConfig(t *testing.T, p *penstock, id string) {
	text := readText(t, filepath.Join(configFolder, id+".yaml"))
	header := configRunner.FindStringSubmatch(text)
	require.NotNil(t, header, "the header names no runner")
	c, runs := configCases[id]
	run := &configRun{penstock: p, id: id, dir: t.TempDir()}
	run.web = &web{serve: c.Serve, got: map[string][]string{}}
	run.web.Server = httptest.NewServer(run.web)
	t.Cleanup(run.web.Close)
	places := []string{configWeb, run.web.URL, configTemp, run.dir}
	for address, start := range configServers {
		if runs && strings.Contains(text, address) {
			places = append(places, address, start(t))
		}
	}
	run.local = strings.NewReplacer(places...)
	for name, content := range c.Given {
		require.NoError(t, os.WriteFile(filepath.Join(run.dir, name), []byte(content), 0o600))
	}
	if c.Setup != "" {
		run.create(t, "-setup", "input: {generate: {count: 1, interval: '', mapping: 'root = {}'}}\npipeline: {processors: ["+c.Setup+"]}\noutput: {drop: {}}")
		awaitState(t, p.client, id+"-setup", "finished")
	}
	if c.Seen != "" {
		run.create(t, "-seen", "input: "+c.Seen+seenOutput)
		awaitConnected(t, p.client, id+"-seen")
	}
	config, resources, _ := strings.Cut(text, "\n---\n")
	run.createResources(t, resources)
	run.create(t, "", config)
	assertRunner(t, p.client, id, header[1])
	if runs {
		run.drive(t, c)
	}
}

// seenOutput is the output of the streams that show what a config has written.
const seenOutput = "\noutput: {http_client: {url: " + configWeb + "/seen, verb: POST}}"

// create creates the stream of the config, or a helper of its with that
// suffix. It is deleted with the test.
func (r *configRun) create(t *testing.T, suffix, config string) {
	t.Helper()
	path := "/streams/" + r.id + suffix
	r.expect(t, 200, "POST", path, r.local.Replace(config))
	t.Cleanup(func() { r.remove(t, path) })
}

// createResources creates what the second document of a config holds: resources,
// which streams share and so are not part of a stream's config.
func (r *configRun) createResources(t *testing.T, text string) {
	t.Helper()
	var classes map[string][]map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(r.local.Replace(text)), &classes))
	for class, list := range classes {
		for _, resource := range list {
			path := "/resources/" + strings.TrimSuffix(class, "_resources") + "/" + resource["label"].(string)
			delete(resource, "label")
			body, err := yaml.Marshal(resource)
			require.NoError(t, err)
			r.expect(t, 200, "POST", path, string(body))
		}
	}
}

// remove deletes a stream when the test's own context has ended already. One
// that tries in vain to reach a server is not waited for.
func (r *configRun) remove(t *testing.T, path string) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	a, err := r.ask(ctx, request{Method: http.MethodDelete, Path: path + "?timeout=1s"})
	if assert.NoError(t, err) {
		assert.Equal(t, 200, a.Status, "DELETE %s answered %s", path, a)
	}
}

// drive has the messages of the case flow and checks what comes of them.
func (r *configRun) drive(t *testing.T, c configCase) {
	feed := "/" + r.id + "/post"
	if c.By != "" {
		r.create(t, "-feed", "input: {http_server: {path: /post}}\noutput: "+c.By)
		feed = "/" + r.id + "-feed/post"
		awaitConnected(t, r.client, r.id)
	}
	var all sync.WaitGroup
	for i, message := range c.Feed {
		post := func() {
			told, err := r.ask(t.Context(), request{Method: http.MethodPost, Path: feed, Body: message})
			if !assert.NoError(t, err) || !assert.Equal(t, 200, told.Status, told) {
				return
			}
			if c.Told != nil {
				assert.Equal(t, c.Told[i], told.Text())
			}
		}
		if c.AtOnce {
			all.Go(post)
		} else {
			post()
		}
	}
	all.Wait()
	if c.Then != "" {
		r.create(t, "-then", "input: "+c.Then+seenOutput)
	}
	for path, messages := range c.Got {
		r.web.awaitPosted(t, path, messages...)
	}
	for name, content := range c.Files {
		await(t, configTimeout, name, func() error {
			got, err := os.ReadFile(filepath.Join(r.dir, name))
			if err == nil && string(got) != content {
				err = fmt.Errorf("%s holds %q instead of %q", name, got, content)
			}
			return err
		})
	}
	if c.Ask != "" {
		r.create(t, "-ask", "input: {http_server: {path: /post}}\npipeline: {processors: ["+c.Ask+"]}\noutput: {sync_response: {}}")
		await(t, configTimeout, "an answer", func() error {
			a, err := r.ask(t.Context(), request{Method: http.MethodPost, Path: "/" + r.id + "-ask/post", Body: "{}"})
			if err == nil && a.Text() != c.Answer {
				err = fmt.Errorf("it is %s instead of %s", a, c.Answer)
			}
			return err
		})
	}
	if c.Check != nil {
		c.Check(t, r)
	}
}

// awaitConnected waits until all inputs and outputs of a stream are connected.
func awaitConnected(t testing.TB, c *client, id string) {
	t.Helper()
	await(t, configTimeout, id+" to be connected", func() error {
		s, err := askStatus(t.Context(), c, id)
		if err == nil && len(s.Connections) == 0 {
			err = fmt.Errorf("it has no connections: %s", s)
		}
		for _, connection := range s.Connections {
			if !connection.Connected {
				err = fmt.Errorf("it is not: %s", s)
			}
		}
		return err
	})
}
