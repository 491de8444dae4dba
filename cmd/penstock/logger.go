package main

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"penstock/configs"
)

// newLogger returns the server's log, which goes to standard error: standard
// output is the banner's. Nothing of it is sampled away.
func newLogger(cfg configs.Log) (*zap.Logger, error) {
	level, err := zap.ParseAtomicLevel(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	conf := zap.NewProductionConfig()
	conf.Level = level
	conf.Sampling = nil
	conf.DisableCaller = true
	conf.DisableStacktrace = true
	conf.Encoding = cfg.Format
	conf.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	conf.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	if cfg.Format == configs.FormatConsole {
		conf.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		conf.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	}
	return conf.Build()
}
