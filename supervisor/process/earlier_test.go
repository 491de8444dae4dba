package process

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"penstock/rpc"
)

// earlier is what a supervisor of these tests is to do before it dies: this
// test binary is started again with it in its environment.
type earlier struct {
	Binary, RunDir, LogDir, Config string
	OrphanTimeout                  time.Duration
}

const earlierVariable = "PENSTOCK_TEST_EARLIER_SUPERVISOR"

// beEarlier is the life of an earlier supervisor: it starts one runner, prints
// its identity, and is gone without a word to it.
func beEarlier(task string) int {
	var e earlier
	err := json.Unmarshal([]byte(task), &e)
	if err == nil {
		err = e.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (e earlier) run() error {
	ctx := context.Background()
	l, err := NewLauncher(e.Binary, e.RunDir, patience, nil)
	if err != nil {
		return err
	}
	p, err := l.Start(ctx, Confinement{})
	if err != nil {
		return err
	}
	_, err = p.Prepare(ctx, rpc.PrepareRequest{
		StreamID: "s", Instance: "token", Config: []byte(e.Config), LogDir: e.LogDir, OrphanTimeout: e.OrphanTimeout,
	})
	if err != nil {
		return err
	}
	id, err := p.Identity()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(id); err != nil {
		return err
	}
	// What it starts may kill it at once.
	_ = p.Run(ctx)
	return nil
}
