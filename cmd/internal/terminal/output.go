package terminal

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Output is standard output that remembers what went wrong when it was written to: the library that prints help does not look. One goroutine
// at a time may use it.
type Output struct {
	w   io.Writer
	err error // the first one
}

// NewOutput makes an Output of w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write writes to standard output.
func (o *Output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err = Unwritten(err); o.err == nil {
		o.err = err
	}
	return n, err
}

// Unwritten is what is said of a write to standard output that ended with err; nil where it did not fail.
func Unwritten(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing to standard output: %w", err)
}

// Err is the error of the first write that has failed, or nil.
func (o *Output) Err() error { return o.err }

// WantsJSON says whether a command line asks for JSON, also one that cannot be read as a whole. env is what the environment says.
func WantsJSON(args []string, env string) bool {
	wanted, _ := strconv.ParseBool(env)
	for _, a := range args {
		if a == "--" {
			break
		}
		if a == "--json" {
			wanted = true
		} else if value, ok := strings.CutPrefix(a, "--json="); ok {
			wanted, _ = strconv.ParseBool(value)
		}
	}
	return wanted
}
