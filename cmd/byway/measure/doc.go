// Package measure measures the two programs beside a yardstick: a plain Go TLS 1.3 hub that authenticates and relays length-prefixed frames in
// memory. It holds benchmarks and nothing else; `make bench` runs them, and docs/performance.md says what they mean.
//
// The rendezvous, the hub and each whole peer are processes of their own, the yardstick and the measured take turns within one run, and where
// latency is measured the load comes at times that are set beforehand, however slow the answers are. Every figure is a metric in the form that
// benchstat reads. Everything stays on 127.0.0.1.
package measure
