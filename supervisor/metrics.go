package supervisor

import (
	"context"
	"net/http"
	"time"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/telemetry"
)

// scrapeTime bounds how long a scrape waits for the runners.
const scrapeTime = 700 * time.Millisecond

// Metrics serves the metrics of every stream and of the gateway itself, as
// Prometheus reads them.
func (s *Supervisor) Metrics() http.Handler {
	return s.telemetry.Handler(s.targets, min(scrapeTime, s.cfg.Timeouts.RPC))
}

func (s *Supervisor) targets() []telemetry.Target {
	streams := s.everyone()
	out := make([]telemetry.Target, 0, len(streams))
	for _, st := range streams {
		v := st.seen.Load()
		target := telemetry.Target{Stream: publicID(st.id), Replica: st.shownNumber(), State: string(v.state), Restarts: v.restarts}
		if st.isHost() {
			target.State = ""
		}
		switch {
		case v.active():
			target.PID = v.current.proc.PID()
			target.MemoryLimit, target.DiskLimit = int64(v.limits.Memory), int64(v.limits.Disk)
			target.DiskBytes = v.current.watches.diskUsed()
			if v.current.proc.Leaf() != nil {
				target.Usage = func() (cgroup.Usage, bool) {
					counted := s.counted(v.current)
					if counted == nil {
						return cgroup.Usage{}, false
					}
					return *counted, true
				}
			}
			target.Stats = v.current.proc.Stats
		case v.last != nil:
			target.Stats = func(context.Context) ([]rpc.Metric, error) { return v.last, nil }
		}
		out = append(out, target)
	}
	return out
}
