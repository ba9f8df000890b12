package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// Profiles are served on loopback only, whatever the bind address is, and only if a port is given.
func TestProfilesAreOffUnlessAsked(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"--pprof-port=0"}, ""},
		{[]string{"--pprof-port=6060"}, "127.0.0.1:6060"},
		{[]string{"--pprof-port=6060", "--bind-address=0.0.0.0"}, "127.0.0.1:6060"},
	} {
		var o options
		cmd := &cobra.Command{}
		o.addTo(cmd)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		if got := o.pprofAddress(); got != c.want {
			t.Errorf("%v: profiles are served on %q, want %q", c.args, got, c.want)
		}
	}
}
