package process

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/cgroup"
	"penstock/supervisor/sandbox"
)

func TestFits(t *testing.T) {
	const files = 16384
	hierarchy := &cgroup.Hierarchy{}
	strict := func() *sandbox.Strict {
		return &sandbox.Strict{
			UID: 200001, GID: 200001, Hostname: "penstock", Mount: "/data/root", TmpBytes: 1 << 20,
			Write: []string{"/data/streams/a"}, Exec: []string{"/bin/true"},
			BindPorts: []sandbox.PortRange{{First: 80, Last: 81}}, ConnectPorts: []sandbox.PortRange{{First: 53, Last: 53}},
		}
	}
	of := func(s *sandbox.Strict) Confinement {
		return Confinement{Launcher: "/launch", Hierarchy: hierarchy, Plan: sandbox.Plan{
			Env: []string{"GOMEMLIMIT=1"}, OOMScoreAdj: 500, Lock: true, Strict: s, NoFile: 512, FileSize: 1 << 20,
		}}
	}
	nobodys := strict()
	nobodys.UID, nobodys.GID, nobodys.Write, nobodys.Vacant = 0, 0, nil, []string{"/data/streams"}
	bare, locked, private := Confinement{}, of(nil), of(nobodys)
	for name, c := range map[string]struct {
		from, to Confinement
		change   func(*Confinement)
		want     bool
	}{
		"none":                        {bare, bare, nil, true},
		"none, with limits":           {bare, locked, nil, false},
		"limits, with none":           {locked, bare, nil, false},
		"standard":                    {locked, locked, nil, true},
		"standard, as strict":         {locked, of(strict()), nil, false},
		"strict":                      {private, of(strict()), nil, true},
		"strict, as standard":         {private, locked, nil, false},
		"other limits":                {locked, locked, func(c *Confinement) { c.Limits.Memory = 1 << 30 }, true},
		"without a cgroup":            {locked, locked, func(c *Confinement) { c.Hierarchy = nil }, false},
		"another launcher":            {locked, locked, func(c *Confinement) { c.Launcher = "/other" }, false},
		"unlocked":                    {locked, locked, func(c *Confinement) { c.Plan.Lock = false }, false},
		"another place in the queue":  {locked, locked, func(c *Confinement) { c.Plan.OOMScoreAdj = 1 }, false},
		"as many files as there are":  {locked, locked, func(c *Confinement) { c.Plan.NoFile = files }, true},
		"more files":                  {locked, locked, func(c *Confinement) { c.Plan.NoFile = files + 1 }, false},
		"any number of files":         {locked, locked, func(c *Confinement) { c.Plan.NoFile = 0 }, true},
		"no limit of the disk":        {locked, locked, func(c *Confinement) { c.Plan.FileSize = 0 }, true},
		"another user":                {private, of(strict()), func(c *Confinement) { c.Plan.Strict.UID++ }, true},
		"no folder":                   {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Write = nil }, true},
		"a folder to read":            {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Read = []string{"/srv"} }, false},
		"a folder to write elsewhere": {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Write = append(c.Plan.Strict.Write, "/srv/x") }, false},
		"a folder further down":       {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Write = []string{"/data/streams/a/b"} }, false},
		"the folder of all":           {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Write = []string{"/data/streams"} }, false},
		"another /tmp":                {private, of(strict()), func(c *Confinement) { c.Plan.Strict.TmpBytes++ }, false},
		"another host name":           {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Hostname = "x" }, false},
		"another mount point":         {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Mount = "/x" }, false},
		"other programs":              {private, of(strict()), func(c *Confinement) { c.Plan.Strict.Exec = nil }, false},
		"other ports to bind":         {private, of(strict()), func(c *Confinement) { c.Plan.Strict.BindPorts = nil }, false},
		"other ports to connect to":   {private, of(strict()), func(c *Confinement) { c.Plan.Strict.ConnectPorts[0].Last++ }, false},
		"any port to connect to":      {private, of(strict()), func(c *Confinement) { c.Plan.Strict.ConnectPorts = nil }, false},
		"no port to connect to":       {private, of(strict()), func(c *Confinement) { c.Plan.Strict.ConnectPorts = []sandbox.PortRange{} }, false},
	} {
		if c.change != nil {
			c.change(&c.to)
		}
		assert.Equal(t, c.want, Fits(ForNobody(Confinement{
			Launcher: c.from.Launcher, Plan: c.from.Plan,
		}).in(c.from.Hierarchy), c.to, files), name)
	}
}

// in is the confinement with a hierarchy that is none of this system's.
func (c Confinement) in(h *cgroup.Hierarchy) Confinement {
	c.Hierarchy = h
	return c
}
