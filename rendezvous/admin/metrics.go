package admin

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsHandler serves at /metrics what registry holds and the numbers of Status, for Prometheus, and at /healthz "ok" or status 503. User
// names are never labels.
func MetricsHandler(op Observer, registry *prometheus.Registry) http.Handler {
	registry.MustRegister(&collector{op: op}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if health := op.Status(r.Context()).Health; health != "ok" {
			http.Error(w, health, http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	return mux
}

// The metrics; each name ends in its unit or in _total.
var (
	descUptime    = describe("uptime_seconds", "Since the start of the process.")
	descUsers     = describe("users", "Registered accounts.")
	descOnline    = describe("users_online", "Accounts with a connected device.")
	descConns     = describe("connections", "Signed-in connections.")
	descHealthy   = describe("healthy", "1 when serving and the database answers.")
	descEnvelopes = describe("envelopes_total", "Envelopes by what became of them.", "outcome")
	descBytes     = describe("envelope_bytes_total", "Bytes of envelopes by what became of them.", "outcome")
	descRefused   = describe("envelopes_refused_total", "Refused envelopes by code.", "code")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("byway_rendezvous_"+name, help, labels, nil)
}

// collector reads Status on each scrape.
type collector struct{ op Observer }

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.op.Status(context.Background())
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	total := func(d *prometheus.Desc, v uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), label)
	}
	gauge(descUptime, s.UptimeMS/1000)
	gauge(descUsers, float64(s.Users))
	gauge(descOnline, float64(s.Online))
	gauge(descConns, float64(s.Connections))
	healthy := 0.0
	if s.Health == "ok" {
		healthy = 1
	}
	gauge(descHealthy, healthy)
	for outcome, t := range map[string]Traffic{"relayed": s.Relayed, "stored": s.Stored, "delivered": s.Delivered} {
		total(descEnvelopes, t.Messages, outcome)
		total(descBytes, t.Bytes, outcome)
	}
	total(descEnvelopes, s.Expired, "expired")
	for code, n := range s.Refused {
		total(descRefused, n, code)
	}
}
