package usage

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
)

// TestSet mistypes commands, flags and arguments.
func TestSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"srve"}, `there is no command "srve"; did you mean serve?`},
		{[]string{"codex"}, `there is no command "codex"; to run the program behind the proxy: agentproxy run -- codex`},
		{[]string{"xyzzy"}, `there is no command "xyzzy"; agentproxy --help lists them`},
		{[]string{"/bin/sh"}, `there is no command "/bin/sh"; agentproxy --help lists them`},
		{[]string{"config", "chek"}, `there is no command "config chek"; did you mean check?`},
		{[]string{"config", "xyzzy"}, `there is no command "config xyzzy"; agentproxy config --help lists them`},
		{[]string{"serve", "now"}, `serve takes no argument such as "now"; see agentproxy serve --help`},
		{[]string{"serve", "a.yaml"}, `serve takes no argument such as "a.yaml"; name a configuration with --config`},
		{[]string{"serve", "--confg", "x"}, "unknown flag: --confg; did you mean --config?"},
		{[]string{"serve", "--xyzzy"}, "unknown flag: --xyzzy; see agentproxy serve --help"},
		{[]string{"serve", "-z"}, "unknown shorthand flag: 'z' in -z; see agentproxy serve --help"},
		{[]string{"--config", "x"}, "unknown flag: --config; flags stand behind the command, as in agentproxy serve --config"},
		{[]string{"help", "srve"}, `there is no command "srve"; did you mean serve?`},
		{[]string{"help", "config", "chek"}, `there is no command "config chek"; did you mean check?`},
		{[]string{"help", "config"}, ""},
		{[]string{"serve", "--config", "x"}, ""},
		{[]string{"--config=x", "serve"}, ""},
	} {
		root := &cobra.Command{Use: "agentproxy", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return nil }}
		nothing := func(*cobra.Command, []string) error { return nil }
		serve := &cobra.Command{Use: "serve", Args: cobra.NoArgs, RunE: nothing}
		serve.Flags().String("config", "", "")
		config := &cobra.Command{Use: "config", RunE: nothing}
		config.AddCommand(&cobra.Command{Use: "check", RunE: nothing})
		root.AddCommand(serve, config)
		root.InitDefaultHelpCmd()
		Set(root)
		root.SetOut(new(bytes.Buffer))
		root.SetArgs(test.args)
		err := root.Execute()
		if got := message(err); got != test.want {
			t.Errorf("%q: %s, want %s", test.args, got, test.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
