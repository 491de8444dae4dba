package supervisor

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/rpc"
	"penstock/supervisor/process"
)

// lastExit tells how a runner ended.
func lastExit(exit process.Exit) *LastExit {
	told := &LastExit{Reason: string(exit.Reason), Code: exit.Code, At: exit.At, Message: exit.Message}
	if told.At.IsZero() {
		// Nobody saw it before now.
		told.At = time.Now()
	}
	if exit.Excess != nil {
		told.UsedBytes, told.LimitBytes = exit.Excess.Used, exit.Excess.Limit
		told.Message = "it " + exit.String()
	}
	if exit.Signal != 0 {
		told.Signal = unix.SignalName(exit.Signal)
	}
	if told.Message == "" && exit.Record != nil {
		told.Message = whyLeft(exit.Record)
	}
	return told
}

// whyLeft is what a runner recorded about its end, in words.
func whyLeft(record *rpc.ExitRecord) string {
	switch record.Reason {
	case rpc.ExitOrphaned:
		return "it had no supervisor for orphan_timeout, drained and ended"
	case rpc.ExitTerminated:
		return "it was sent SIGTERM, drained and ended"
	case rpc.ExitStopped:
		return "its stream was stopped"
	case rpc.ExitFinished:
	}
	return record.Error
}

// String gives the exit in one line.
func (e *LastExit) String() string {
	text := fmt.Sprintf("exited with code %d", e.Code)
	switch {
	case e.Reason == string(process.OOM), e.Reason == string(process.Disk):
		return strings.TrimPrefix(e.Message, "it ")
	case e.Reason == string(process.Lost):
		text = "ended unseen"
	case e.Signal != "":
		number := unix.SignalNum(e.Signal)
		text = fmt.Sprintf("was ended by signal %d (%s)", number, number)
	}
	if first, _, _ := strings.Cut(e.Message, "\n"); first != "" {
		text += ": " + first
	}
	return text
}

// decodeExit reads what the store has of the last exit, nil for nothing.
func decodeExit(text []byte) *LastExit {
	var told *LastExit
	if json.Unmarshal(text, &told) != nil {
		return nil
	}
	return told
}
