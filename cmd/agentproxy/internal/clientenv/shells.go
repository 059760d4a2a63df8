package clientenv

import "strings"

// Shells holds a function for each syntax. It returns the line that sets a variable.
var Shells = map[string]func(Variable) string{
	"sh": func(v Variable) string {
		return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
	},
	"fish": func(v Variable) string {
		return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "'"
	},
	"powershell": func(v Variable) string {
		// PowerShell reads typographic quotes as plain ones.
		doubled := strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")
		return "$env:" + v.Name + " = '" + doubled.Replace(v.Value) + "'"
	},
}
