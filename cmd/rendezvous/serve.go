package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/server"
)

func (p *program) serveCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve until told to stop", Args: noArgs,
		Long: "Serve until SIGINT or SIGTERM, which drains and exits within five seconds; a second one exits at once. SIGHUP reads the\n" +
			"configuration again. On a terminal it reads commands; type help there.",
	}
	flags := flagsOf(&s)
	cmd.Flags().AddFlagSet(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given := changed(flags)
		if err := p.complete(&s, flags); err != nil {
			return err
		}
		return p.serve(cmd.Context(), s, given)
	}
	return cmd
}

// changed returns the flags that the command line has set, to be set again before each reload.
func changed(f *pflag.FlagSet) []func(*pflag.FlagSet) error {
	var again []func(*pflag.FlagSet) error
	f.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed {
			return
		}
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			again = append(again, func(f *pflag.FlagSet) error { return f.Set(flag.Name, v) })
		}
	})
	return again
}

func (p *program) serve(ctx context.Context, s settings, given []func(*pflag.FlagSet) error) error {
	// What is written here is nobody else's business.
	syscall.Umask(0o077)
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(s.logLevel)) // checked
	log := slog.New(p.logHandler(s.logFormat, level))
	// What libraries print by package log goes the same way.
	slog.SetDefault(log)
	checkFiles(log, s.maxPeers)
	// Signals are caught before anything is made, so that none leaves a half-started server behind.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	node, err := server.New(ctx, server.Config{
		Data: s.data, Listen: s.listen, Registration: directory.Policy(s.registration), MaxPeers: s.maxPeers, NoMDNS: s.noMDNS,
		Metrics: s.metrics, ReadyFile: s.readyFile, Version: version.String(), Logger: log,
	})
	if err != nil {
		return err
	}
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { newMemory().run(ctx, node.Release) })
	reload := func() { p.reload(node, s, given, level, log) }
	go p.obey(signals, stop, reload) // until the process ends
	if in, ok := p.terminal(); ok {
		go func() {
			<-node.Ready()
			p.greet(node.Address(), !s.noMDNS)
			(&console{in: in, out: p.out, err: p.err, data: s.data, quit: stop, getenv: p.getenv}).run(ctx)
		}()
	}
	return node.Run(ctx)
}

// obey acts on signals. The second that asks to stop ends the process at once.
func (p *program) obey(signals <-chan os.Signal, stop, reload func()) {
	stopping := false
	for sig := range signals {
		switch {
		case sig == syscall.SIGHUP:
			reload()
		case stopping:
			os.Exit(exitInterrupt)
		default:
			stopping = true
			stop()
		}
	}
}

// reload reads environment and file again and applies what can change while serving.
func (p *program) reload(node *server.Server, old settings, given []func(*pflag.FlagSet) error, level *slog.LevelVar, log *slog.Logger) {
	var s settings
	flags := flagsOf(&s)
	for _, set := range given {
		_ = set(flags) // was accepted before
	}
	if err := p.complete(&s, flags); err != nil {
		log.Error("the configuration was not reloaded", slog.String("error", err.Error()))
		return
	}
	_ = level.UnmarshalText([]byte(s.logLevel)) // checked
	node.SetRegistration(directory.Policy(s.registration))
	node.SetMaxPeers(s.maxPeers)
	log.Info("configuration reloaded", slog.String("registration", s.registration), slog.Int("max_peers", s.maxPeers),
		slog.String("log_level", s.logLevel))
	if needsRestart(old, s) {
		log.Warn("some settings have changed that take effect at the next start only")
	}
}

func needsRestart(a, b settings) bool {
	if len(a.listen) != len(b.listen) {
		return true
	}
	for i := range a.listen {
		if a.listen[i] != b.listen[i] {
			return true
		}
	}
	return a.metrics != b.metrics || a.noMDNS != b.noMDNS || a.logFormat != b.logFormat || a.readyFile != b.readyFile
}

func (p *program) logHandler(format string, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == "text" || format == "" && isTerminal(p.err) {
		return slog.NewTextHandler(p.err, options)
	}
	return slog.NewJSONHandler(p.err, options)
}

// checkFiles warns where the system allows fewer open files than the peers need.
func checkFiles(log *slog.Logger, maxPeers int) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < uint64(2*maxPeers) {
		log.Warn("the limit of open files is low for max-peers; see ulimit -n",
			slog.Uint64("limit", limit.Cur), slog.Int("max_peers", maxPeers), slog.Int("wanted", 2*maxPeers))
	}
}

// terminal returns standard input where both it and standard output are a terminal.
func (p *program) terminal() (io.Reader, bool) {
	in, ok := p.in.(*os.File)
	return in, ok && terminal.IsTerminal(in) && isTerminal(p.out)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal.IsTerminal(f)
}
