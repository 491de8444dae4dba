package integration

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	// metadataAddress is where clouds tell a machine its secrets.
	metadataAddress = "169.254.169.254"
	// hostAddress is one of the host's own that is not a loopback address.
	hostAddress = "192.0.2.1"
	// hostileSecretEnv is a variable of the supervisor's environment.
	hostileSecretEnv = "HOSTILE_SECRET"
)

// hostileWorld is what hostile streams are after: files and services of a host
// that are none of their business.
type hostileWorld struct {
	*netns
	// dir is the folder of the canaries, which everybody may enter.
	dir string
	// secrets are what must not be seen, by what they are the secret of.
	secrets map[string]string
	// words are what {{name}} stands for.
	words map[string]string

	// reached counts connections and datagrams, by service.
	reached map[string]*atomic.Int64

	mu sync.Mutex
	// touched are the events of the canaries' folder.
	touched []string
}

// The canaries: files in hostileWorld.dir, and a folder in which everybody may
// make files.
const (
	publicCanary, privateCanary, writableCanary = "public.json", "private.json", "writable.json"
	openFolder                                  = "open"
)

// newHostileWorld makes the world, in a network namespace of its own.
func newHostileWorld(t testing.TB) *hostileWorld {
	t.Helper()
	w := &hostileWorld{netns: newNetns(t), secrets: map[string]string{}, words: map[string]string{}, reached: map[string]*atomic.Int64{}}
	// Not in /tmp, of which every strict stream has one of its own.
	dir, err := os.MkdirTemp("/var/tmp", "penstock-canaries-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	w.dir = dir
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, mode := range map[string]os.FileMode{publicCanary: 0o644, privateCanary: 0o600, writableCanary: 0o666} {
		kind := strings.TrimSuffix(name, ".json") + " canary"
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(w.canary(kind)), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		w.words[strings.TrimSuffix(name, ".json")] = path
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, openFolder), 0o700))
	require.NoError(t, os.Chmod(filepath.Join(dir, openFolder), 0o777))
	w.words["shared"] = filepath.Join(os.TempDir(), "penstock-planted-"+rand.Text())
	w.words["folder"], w.words["open"] = dir, filepath.Join(dir, openFolder)
	w.words["host"], w.words["metadata"] = hostAddress, metadataAddress

	w.address("lo:1", metadataAddress)
	w.address("lo:2", hostAddress)
	var everywhere string
	everywhere, w.reached["loopback service"] = w.serve(":0", w.secret("loopback service"))
	w.words["loopback"] = everywhere[strings.LastIndexByte(everywhere, ':')+1:]
	_, w.reached["metadata service"] = w.serve(metadataAddress+":80", w.secret("metadata service"))
	path := filepath.Join(dir, "socket")
	w.greet("unix socket", w.listen("unix", path))
	require.NoError(t, os.Chmod(path, 0o777))
	abstract := "penstock-canary-" + rand.Text()
	w.greet("abstract socket", w.listen("unix", "@"+abstract))
	w.words["unix"], w.words["abstract"] = path, abstract
	w.receive(t)

	t.Setenv(hostileSecretEnv, w.secret("environment"))
	w.watch(t)
	return w
}

// secret makes the secret of something.
func (w *hostileWorld) secret(of string) string {
	w.secrets[of] = "S3CRET" + rand.Text()
	return w.secrets[of]
}

// canary is a file's content with a secret in it: JSON on a line.
func (w *hostileWorld) canary(of string) string {
	return fmt.Sprintf("{\"canary\":%q}\n", w.secret(of))
}

// addAddress gives an interface's alias an IPv4 address.
func addAddress(alias, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifreq, err := unix.NewIfreq(alias)
	if err != nil {
		return err
	}
	if err := ifreq.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifreq)
}

// greet tells a secret to whoever connects.
func (w *hostileWorld) greet(name string, l net.Listener) {
	secret, reached := w.secret(name), new(atomic.Int64)
	w.reached[name] = reached
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			_, _ = fmt.Fprintln(conn, secret)
			_ = conn.Close()
		}
	}()
}

// receive counts datagrams.
func (w *hostileWorld) receive(t testing.TB) {
	t.Helper()
	var conn net.PacketConn
	var err error
	w.inside(func() { conn, err = net.ListenPacket("udp", ":0") })
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	w.words["udp"] = fmt.Sprint(conn.LocalAddr().(*net.UDPAddr).Port)
	reached := new(atomic.Int64)
	w.reached["datagram service"] = reached
	go func() {
		for {
			if _, _, err := conn.ReadFrom(make([]byte, 1)); err != nil {
				return
			}
			reached.Add(1)
		}
	}()
}

// watch takes down whatever happens to the canaries from now on.
func (w *hostileWorld) watch(t testing.TB) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	events := os.NewFile(uintptr(fd), "inotify")
	folders := map[int32]string{}
	for _, dir := range []string{w.dir, filepath.Join(w.dir, openFolder)} {
		wd, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_MODIFY|unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE|unix.IN_ATTRIB)
		require.NoError(t, err)
		folders[int32(wd)] = dir
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 64<<10)
		for {
			n, err := events.Read(buffer)
			if err != nil {
				return
			}
			w.note(buffer[:n], folders)
		}
	}()
	t.Cleanup(func() { _ = events.Close(); <-done })
}

// note takes down the events in the form of the kernel.
func (w *hostileWorld) note(events []byte, folders map[int32]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:size], "\x00"))
		events = events[size:]
		what := "changed"
		switch {
		case mask&unix.IN_OPEN != 0 && mask&unix.IN_ISDIR != 0:
			what = "listed"
		case mask&unix.IN_OPEN != 0:
			what = "opened"
		case mask&unix.IN_CREATE != 0:
			what = "made"
		}
		if text := what + " " + filepath.Join(folders[wd], name); !slices.Contains(w.touched, text) {
			w.touched = append(w.touched, text)
		}
	}
}

// found says what must not be: who was reached, and what was touched.
func (w *hostileWorld) found() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What was made was opened and changed as well, which goes without saying.
	found := slices.DeleteFunc(slices.Clone(w.touched), func(text string) bool {
		what, path, _ := strings.Cut(text, " ")
		return what != "made" && slices.Contains(w.touched, "made "+path) ||
			what == "opened" && slices.Contains(w.touched, "changed "+path)
	})
	if _, err := os.Lstat(w.words["shared"]); err == nil {
		found = append(found, "made "+w.words["shared"])
	}
	for name, times := range w.reached {
		if times.Load() > 0 {
			found = append(found, "reached the "+name)
		}
	}
	slices.Sort(found)
	return found
}

// leaks names the secrets that a text holds.
func (w *hostileWorld) leaks(text []byte) []string {
	var names []string
	for name, secret := range w.secrets {
		if bytes.Contains(text, []byte(secret)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// leaksBelow is leaks for all files below a folder.
func (w *hostileWorld) leaksBelow(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Size() > 64<<20 {
			return nil //nolint:nilerr // it has gone, or is nothing but filling
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for _, name := range w.leaks(text) {
			names = append(names, fmt.Sprintf("%s in %s", name, path))
		}
		return err
	})
	return names, err
}

// fill puts words in the place of their names.
func (w *hostileWorld) fill(text string, more ...string) string {
	pairs := more
	for name, word := range w.words {
		pairs = append(pairs, "{{"+name+"}}", word)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
