package clientenv

import "strings"

// Shells has functions that return the line which sets a variable, by the syntax.
var Shells = map[string]func(Variable) string{
	"sh": func(v Variable) string {
		return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
	},
	"fish": func(v Variable) string {
		return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "'"
	},
	"powershell": func(v Variable) string {
		// PowerShell takes typographic quotes for plain ones.
		doubled := strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")
		return "$env:" + v.Name + " = '" + doubled.Replace(v.Value) + "'"
	},
}
