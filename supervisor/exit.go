package supervisor

import (
	"encoding/json"

	"golang.org/x/sys/unix"

	"penstock/supervisor/process"
)

// lastExit tells how a runner ended.
func lastExit(exit process.Exit) *LastExit {
	told := &LastExit{Reason: string(exit.Reason), Code: exit.Code, At: exit.At, Message: exit.Message}
	if exit.Signal != 0 {
		told.Signal = unix.SignalName(exit.Signal)
	}
	if told.Message == "" && exit.Record != nil {
		told.Message = exit.Record.Error
	}
	return told
}

// decodeExit reads what the store has of the last exit, nil for nothing.
func decodeExit(text []byte) *LastExit {
	var told *LastExit
	if json.Unmarshal(text, &told) != nil {
		return nil
	}
	return told
}
