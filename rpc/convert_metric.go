package rpc

import "penstock/rpc/runnerpb"

func metricsToProto(metrics []Metric) []*runnerpb.Metric {
	out := make([]*runnerpb.Metric, 0, len(metrics))
	for _, m := range metrics {
		pm := &runnerpb.Metric{Name: text(m.Name), Labels: make(map[string]string, len(m.Labels)), Kind: kindToProto(m.Kind)}
		for name, value := range m.Labels {
			pm.Labels[text(name)] = text(value)
		}
		if m.Timing != nil {
			pm.Value = &runnerpb.Metric_Timing{Timing: &runnerpb.Timing{
				P50: m.Timing.P50, P90: m.Timing.P90, P99: m.Timing.P99, Count: m.Timing.Count, Sum: m.Timing.Sum,
			}}
		} else {
			pm.Value = &runnerpb.Metric_Number{Number: m.Number}
		}
		out = append(out, pm)
	}
	return out
}

func metricsFromProto(metrics []*runnerpb.Metric) []Metric {
	out := make([]Metric, 0, len(metrics))
	for _, m := range metrics {
		dm := Metric{Name: m.GetName(), Labels: m.GetLabels(), Kind: kindFromProto(m.GetKind()), Number: m.GetNumber()}
		if t := m.GetTiming(); t != nil {
			dm.Timing = &Timing{P50: t.GetP50(), P90: t.GetP90(), P99: t.GetP99(), Count: t.GetCount(), Sum: t.GetSum()}
		}
		out = append(out, dm)
	}
	return out
}

func kindToProto(k Kind) runnerpb.Metric_Kind {
	switch k {
	case KindCounter:
		return runnerpb.Metric_KIND_COUNTER
	case KindGauge:
		return runnerpb.Metric_KIND_GAUGE
	case KindTimer:
		return runnerpb.Metric_KIND_TIMER
	}
	return runnerpb.Metric_KIND_UNSPECIFIED
}

func kindFromProto(k runnerpb.Metric_Kind) Kind {
	switch k {
	case runnerpb.Metric_KIND_COUNTER:
		return KindCounter
	case runnerpb.Metric_KIND_GAUGE:
		return KindGauge
	case runnerpb.Metric_KIND_TIMER:
		return KindTimer
	case runnerpb.Metric_KIND_UNSPECIFIED:
	}
	return 0
}
