package process

import (
	"context"
	"sync"

	"github.com/hashicorp/go-plugin/runner"
)

// handle is the operating system's side of a runner, started or adopted.
type handle interface {
	runner.AttachedRunner
	pid() int
	// started reports whether there ever was a process.
	started() bool
	// kill kills the process's whole group and does not wait.
	kill()
	// release ends the watch of a process that is to live on.
	release()
}

// sameHost implements runner.AddrTranslator: both ends see the same files.
type sameHost struct{}

// PluginToHost implements runner.AddrTranslator.
func (sameHost) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (sameHost) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// letGo remembers that a process was released.
type letGo struct {
	once     *sync.Once
	released chan struct{}
}

func newLetGo() letGo { return letGo{once: &sync.Once{}, released: make(chan struct{})} }

func (l letGo) release() { l.once.Do(func() { close(l.released) }) }

func (l letGo) isReleased() bool {
	select {
	case <-l.released:
		return true
	default:
		return false
	}
}

// wait is go-plugin's wait for the end. For go-plugin a release is an end.
func (l letGo) wait(ctx context.Context, exited <-chan struct{}) error {
	select {
	case <-exited:
		return nil
	case <-l.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
