package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous"
)

// flags are those that every command takes. Each has an environment form: BYWAY_ and its name in capitals.
type flags struct {
	home            string
	rendezvous      string
	user            string
	invite          string
	passwordFile    string
	passwordCommand string
	noPassphrase    bool
	json            bool
	plain           bool
	noMDNS          bool
	noPortMap       bool
	listen          []string
	receipts        string
	logLevel        string
	logFormat       string
}

func (f *flags) register(set *pflag.FlagSet) {
	set.StringVar(&f.home, "home", "", "directory of all state of one person on one device (default: XDG data directory + /byway)")
	set.StringVar(&f.rendezvous, "rendezvous", "", "address with /p2p/, or invitation link; remembered; found by mDNS when absent")
	set.StringVar(&f.user, "user", "", "user name, for the first sign-in")
	set.StringVar(&f.invite, "invite", "", "invitation token, where registration needs one")
	set.StringVar(&f.passwordFile, "password-file", "", "file whose first line is the password")
	set.StringVar(&f.passwordCommand, "password-command", "", "shell command whose first line of output is the password")
	set.BoolVar(&f.noPassphrase, "no-passphrase", false, "leave the key file of a new home unsealed: later starts need no password")
	set.BoolVar(&f.json, "json", false, "print JSON, one object a line")
	set.BoolVar(&f.plain, "plain", false, "plain lines, no full screen")
	set.BoolVar(&f.noMDNS, "no-mdns", false, "neither announce nor search on the local network")
	set.BoolVar(&f.noPortMap, "no-port-map", false, "do not ask the router to let others in (NAT-PMP, UPnP); on loopback nothing is asked")
	set.StringArrayVar(&f.listen, "listen", nil, "multiaddr to listen on (repeatable; default: TCP and QUIC, all interfaces, any port)")
	set.StringVar(&f.receipts, "read-receipts", "", "on or off: whether contacts learn what you have read (remembered; on at first)")
	set.StringVar(&f.logLevel, "log-level", "error", "debug, info, warn or error; the log goes to standard error")
	set.StringVar(&f.logFormat, "log-format", "", "text or json (default: text on a terminal, else json)")
}

// shortNames are environment forms that do not repeat a flag's name.
var shortNames = map[string]string{"log-level": "BYWAY_LOG"}

// kinds are the values of flags in words, by the type that pflag gives them.
var kinds = map[string]string{"int": "a whole number", "duration": "a time, as 10s or 2m", "bool": "true or false", "float64": "a number"}

// flagMistake is what is wrong with a flag, without the words of the library that has read it.
func flagMistake(err error) string {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err.Error()
	}
	if kind, known := kinds[bad.GetFlag().Value.Type()]; known {
		return fmt.Sprintf("--%s needs %s, not %q", bad.GetFlag().Name, kind, bad.GetValue())
	}
	return err.Error()
}

// siblings are flags of which one takes the place of the other: given on the command line, it beats the other's environment form, too.
var siblings = map[string]string{"password-file": "password-command", "password-command": "password-file"}

// fromEnvironment sets every flag that the command line did not from the environment.
func fromEnvironment(cmd *cobra.Command, getenv func(string) string) error {
	sets := []*pflag.FlagSet{cmd.InheritedFlags(), cmd.Root().PersistentFlags()}
	given := map[string]bool{}
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) { given[f.Name] = given[f.Name] || f.Changed })
	}
	var failed error
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if !f.Changed && !given[siblings[f.Name]] {
				failed = errors.Join(failed, fromVariable(f, getenv))
			}
		})
	}
	return failed
}

func fromVariable(f *pflag.Flag, getenv func(string) string) error {
	name := "BYWAY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	value := getenv(name)
	if value == "" {
		name = shortNames[f.Name]
		if name == "" {
			return nil
		}
		value = getenv(name)
	}
	if value == "" {
		return nil
	}
	values := []string{value}
	if f.Value.Type() == "stringArray" {
		values = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	}
	for _, v := range values {
		if err := f.Value.Set(v); err != nil {
			return &peer.Error{Code: peer.CodeUsage, Message: fmt.Sprintf("the environment variable %s holds %q", name, value), Hint: "it stands for --" + f.Name + ": " + f.Usage}
		}
	}
	f.Changed = true
	return nil
}

// resolve checks the flags and fills in what is derived.
func (f *flags) resolve(getenv func(string) string) error {
	if f.home == "" {
		data := getenv("XDG_DATA_HOME")
		if !filepath.IsAbs(data) { // the XDG specification: a relative path is to be ignored
			user, err := os.UserHomeDir()
			if err != nil {
				return &peer.Error{Code: peer.CodeUsage, Message: "there is no home directory", Hint: "name a directory with --home", Err: err}
			}
			data = filepath.Join(user, ".local", "share")
		}
		f.home = filepath.Join(data, "byway")
	}
	home, err := filepath.Abs(f.home)
	if err != nil {
		return &peer.Error{Code: peer.CodeUsage, Message: "the home directory cannot be named", Err: err}
	}
	f.home = home
	if f.receipts != "" && f.receipts != "on" && f.receipts != "off" {
		return usage(fmt.Sprintf("read receipts cannot be %q", f.receipts), "use --read-receipts on or off")
	}
	if f.passwordFile != "" && f.passwordCommand != "" {
		return usage("a password file and a password command are both given", "give one of them")
	}
	for _, a := range f.listen {
		if err := checkListen(a); err != nil {
			return err
		}
	}
	if _, err := f.level(); err != nil {
		return err
	}
	if f.logFormat != "" && f.logFormat != "text" && f.logFormat != "json" {
		return usage(fmt.Sprintf("there is no log format %q", f.logFormat), "use text or json")
	}
	return nil
}

// checkListen refuses what no peer can listen on: it takes TCP and QUIC, at an address of this machine.
func checkListen(address string) error {
	hint := "for example --listen /ip4/0.0.0.0/tcp/0, or /ip4/0.0.0.0/udp/0/quic-v1"
	a, err := ma.NewMultiaddr(address)
	if err != nil {
		return usage(fmt.Sprintf("%q is not an address to listen on: %v", address, err), hint)
	}
	if len(a) > 0 && a[0].Code() == ma.P_IP6ZONE {
		a = a[1:]
	}
	if len(a) > 0 && (a[0].Code() == ma.P_IP4 || a[0].Code() == ma.P_IP6) && rendezvous.IsTransport(a[1:]) {
		return nil
	}
	return usage(fmt.Sprintf("%q is not an address to listen on: there is TCP and QUIC, at an address of this machine", address), hint)
}

// level is how much is logged.
func (f *flags) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return level, usage(fmt.Sprintf("there is no log level %q", f.logLevel), "use debug, info, warn or error")
	}
	return level, nil
}

// rendezvousAddress is what --rendezvous names, nil where it names nothing.
func (f *flags) rendezvousAddress() (*rendezvous.Address, error) {
	if f.rendezvous == "" {
		return nil, nil
	}
	address, err := rendezvous.ParseAddress(f.rendezvous)
	if err != nil {
		hint := ""
		if bad, ok := errors.AsType[*rendezvous.AddressError](err); ok {
			hint = bad.Hint
		}
		return nil, usage("the address of the rendezvous is wrong: "+err.Error(), hint)
	}
	return &address, nil
}

// fit says whether a running peer is the one that --user and --rendezvous mean. It refuses what a peer that is being started refuses.
func (f *flags) fit(st *peer.Status) error {
	if f.user != "" {
		name, err := rendezvous.ParseUsername(f.user)
		if err != nil || string(name) != st.User {
			return usage("this home belongs to "+clean(st.User), "leave --user out, or use another --home")
		}
	}
	address, err := f.rendezvousAddress()
	if err != nil || address == nil {
		return err
	}
	if st.Rendezvous.PeerID != "" && st.Rendezvous.PeerID != address.ID.String() {
		return usage("this home is enrolled at another rendezvous", "use another --home for another rendezvous")
	}
	return nil
}

// logger is what the peer logs to.
func (p *program) logger() (*slog.Logger, error) {
	level, err := p.flags.level()
	if err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	p.logs.stderr = p.stderr
	slog.SetDefault(slog.New(slog.DiscardHandler)) // libraries write to it, and to that of package log, what is of use to nobody, in the middle of a chat
	format := p.flags.logFormat
	if format == "" && isTerminal(p.stderr) {
		format = "text"
	}
	if format == "text" {
		return slog.New(slog.NewTextHandler(&p.logs, o)), nil
	}
	return slog.New(slog.NewJSONHandler(&p.logs, o)), nil
}
