package usage

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestArguments(t *testing.T) {
	root := Group("host", "The root.")
	cmd := &cobra.Command{Use: "show ID", Run: func(*cobra.Command, []string) {}}
	root.AddCommand(cmd, Help(root))
	for _, c := range []struct {
		check cobra.PositionalArgs
		cmd   *cobra.Command
		args  []string
		want  string
	}{
		{None, cmd, nil, ""},
		{None, cmd, []string{"x"}, `show takes no argument; "x" is one too many` + "\nusage: host show ID"},
		{Exactly("ID", "NAME"), cmd, []string{"x", "y"}, ""},
		{Exactly("ID", "NAME"), cmd, nil, "show needs ID and NAME"},
		{Exactly("ID", "NAME"), cmd, []string{"x"}, "show needs NAME"},
		{Exactly("ID"), cmd, []string{"x", "y"}, `show takes ID only; "y" is one too many`},
		{Subcommand, root, nil, ""},
		{Subcommand, root, []string{"sho"}, "there is no command \"sho\"; did you mean show?\nhost --help lists the commands"},
		{Subcommand, root, []string{"zzzzzz"}, "there is no command \"zzzzzz\"\n"},
	} {
		err := c.check(c.cmd, c.args)
		var u Error
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &u) || !strings.Contains(u.Error(), c.want)) {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
	root.SetArgs([]string{"help", "sho"})
	root.SilenceErrors, root.SilenceUsage = true, true
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), "did you mean show?") {
		t.Errorf("help for what there is not: %v", err)
	}
}

func TestLongFlags(t *testing.T) {
	got := LongFlags([]string{"plan", "-var", "a=1", "-var-file=x", "-c", "dir", "-detailed-exitcode", "--", "-var"})
	if want := []string{"plan", "--var", "a=1", "--var-file=x", "-c", "dir", "--detailed-exitcode", "--", "-var"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
