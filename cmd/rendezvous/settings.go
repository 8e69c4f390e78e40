package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/server"
)

// settings are what `serve` can be told: by a flag, else by an environment variable (RENDEZVOUS_ and the flag's name in capitals, with _
// for -), else by the configuration file, in which the flag's name is the key. The help texts are the reference in docs/operating.md.
type settings struct {
	data, config, readyFile, metrics  string
	listen                            []string
	registration, logFormat, logLevel string
	maxPeers                          int
	noMDNS                            bool
}

// notInFile are the settings that a configuration file cannot hold, because they say where it is.
var notInFile = []string{"data", "config"}

// flagsOf binds s to flags with their defaults.
func flagsOf(s *settings) *pflag.FlagSet {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.StringVar(&s.data, "data", "", "data directory (default $RENDEZVOUS_DATA, else the XDG data directory + /rendezvous)")
	f.StringVar(&s.config, "config", "", "configuration file (default rendezvous.toml in the data directory, where there is one)")
	f.StringArrayVar(&s.listen, "listen", nil, "multiaddr to listen on; may be repeated (default TCP and QUIC on port 29929 of all interfaces)")
	f.StringVar(&s.registration, "registration", string(directory.Open), "who may register: open, invite or closed; reloadable")
	f.IntVar(&s.maxPeers, "max-peers", server.DefaultMaxPeers, "how many peers may be connected at once; reloadable up to three times the value at the start")
	f.BoolVar(&s.noMDNS, "no-mdns", false, "do not announce on the LAN")
	f.StringVar(&s.metrics, "metrics", "", "HOST:PORT for Prometheus metrics and /healthz (default none)")
	f.StringVar(&s.readyFile, "ready-file", "", "file to write when accepting (default none)")
	f.StringVar(&s.logFormat, "log-format", "", "text or json (default text on a terminal, json else)")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error; reloadable")
	return f
}

// complete fills in what the command line has not set, and checks everything. Its errors are usage errors.
func (p *program) complete(s *settings, f *pflag.FlagSet) error {
	var problems []error
	f.VisitAll(func(flag *pflag.Flag) {
		name := "RENDEZVOUS_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		value := p.getenv(name)
		if flag.Changed || value == "" {
			return
		}
		for _, v := range valuesOf(flag, value) {
			if err := f.Set(flag.Name, v); err != nil {
				problems = append(problems, fmt.Errorf("$%s: %w", name, err))
			}
		}
	})
	if s.data == "" {
		s.data = p.defaultData()
	}
	if err := s.readFile(f); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, s.check()...)
	if err := errors.Join(problems...); err != nil {
		return &usageError{err: oneLine(problems)}
	}
	return nil
}

// valuesOf splits the value of a flag that may be repeated at spaces and commas.
func valuesOf(flag *pflag.Flag, value string) []string {
	if flag.Value.Type() != "stringArray" {
		return []string{value}
	}
	return strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' })
}

func oneLine(problems []error) error {
	var texts []string
	for _, err := range problems {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	return errors.New(strings.Join(texts, "; "))
}

// readFile applies the configuration file. An unknown key is an error: a misspelt setting must not be lost in silence.
func (s *settings) readFile(f *pflag.FlagSet) error {
	path := s.config
	if path == "" {
		path = filepath.Join(s.data, server.ConfigFile)
	}
	text, err := os.ReadFile(path)
	if err != nil && s.config == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		return nil // whether the directory itself is right is for the server to say
	}
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var keys map[string]any
	if err := toml.Unmarshal(text, &keys); err != nil {
		return fmt.Errorf("the configuration %s: %w", path, err)
	}
	for key, value := range keys {
		flag := f.Lookup(key)
		if flag == nil || slices.Contains(notInFile, key) {
			return fmt.Errorf("the configuration %s: unknown key %q", path, key)
		}
		if flag.Changed {
			continue
		}
		values, ok := value.([]any)
		if !ok {
			values = []any{value}
		} else if flag.Value.Type() != "stringArray" {
			return fmt.Errorf("the configuration %s: %s is not a list", path, key)
		}
		for _, v := range values {
			if err := f.Set(key, fmt.Sprint(v)); err != nil {
				return fmt.Errorf("the configuration %s: %s: %w", path, key, err)
			}
		}
	}
	return nil
}

func (s *settings) check() []error {
	var problems []error
	if !slices.Contains([]directory.Policy{directory.Open, directory.ByInvite, directory.Closed}, directory.Policy(s.registration)) {
		problems = append(problems, fmt.Errorf("registration is open, invite or closed, not %q", s.registration))
	}
	if s.maxPeers < 1 || s.maxPeers > 1_000_000 {
		problems = append(problems, fmt.Errorf("max-peers is between 1 and 1000000, not %d", s.maxPeers))
	}
	if !slices.Contains([]string{"", "text", "json"}, s.logFormat) {
		problems = append(problems, fmt.Errorf("log-format is text or json, not %q", s.logFormat))
	}
	if err := new(slog.Level).UnmarshalText([]byte(s.logLevel)); err != nil {
		problems = append(problems, fmt.Errorf("log-level is debug, info, warn or error, not %q", s.logLevel))
	}
	if err := checkPlace(s.metrics); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// checkPlace checks the HOST:PORT of the metrics, which may be empty.
func checkPlace(place string) error {
	if place == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(place)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("metrics is HOST:PORT, for example 127.0.0.1:9464, not %q", place)
	}
	return nil
}
