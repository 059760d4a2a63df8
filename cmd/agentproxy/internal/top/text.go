package top

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
	"github.com/agentproxy/agentproxy/proxy"
)

// Print writes the whole status to w, as text.
func Print(w io.Writer, s admin.Status, colour bool) error {
	var b strings.Builder
	for _, l := range append(head(s, maxSpark), body(s)...) {
		b.WriteString(l.paint(logline.Palette(colour)) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxSpark is the most columns of a sparkline.
const maxSpark = 60

// head returns the lines that are always seen: the state, and the rates as sparklines of
// spark columns at most.
func head(s admin.Status, spark int) []line {
	style := map[string]string{"good": logline.Green, "warn": logline.Yellow, "bad": logline.Red}[s.State()]
	title := strings.TrimSuffix(s.Title(), " – agentproxy")
	lines := []line{append(words(logline.Bold, "agentproxy "+s.Version), append(words("", ", up "+logline.Roughly(s.Ago(s.Started))+"  "), words(style, title)...)...)}
	total := s.Total()
	carried := fmt.Sprintf("%s to clients, %s from them; CA good for %s", logline.Bytes(total.Sent), logline.Bytes(total.Received), logline.Roughly(s.Left(s.CAExpires)))
	about := words("", carried)
	if s.ClockExcess != 0 {
		about = append(about, span{"", "; "}, span{logline.Red, fmt.Sprintf("WRONG CLOCK: the backend's is %.0f s ahead, set this machine's", s.ClockExcess)})
	} else if s.ClockOffset != 0 {
		about = append(about, span{logline.Yellow, fmt.Sprintf("; the backend's clock is %.0f s ahead", s.ClockOffset)})
	}
	lines = append(lines, about, nil)
	r := s.Rates
	rate := func(name, style string, series history.Series, words string) line {
		return line{{"", name}, {style, series.Line(min(spark, maxSpark))}, {"", "  " + words}}
	}
	failed := ""
	if r.Failed.Sum() > 0 {
		failed = logline.Yellow
	}
	return append(lines,
		rate("requests  ", logline.Green, r.Requests, fmt.Sprintf("%d in %d min, %d at most in %d s", r.Requests.Sum(), r.Minutes(), r.Requests.Most(), r.SpanSeconds)),
		rate("failed    ", failed, r.Failed, fmt.Sprintf("%d in %d min", r.Failed.Sum(), r.Minutes())),
		rate("answers   ", "", r.FirstByte, fmt.Sprintf("after %d ms, %d ms at most", r.FirstByte.Last(), r.FirstByte.Most())),
		nil)
}

// body returns the lines below the head.
func body(s admin.Status) (lines []line) {
	section := func(title string, rows ...[]span) {
		if len(rows) < 2 {
			return
		}
		if title != "" {
			lines = append(lines, words(logline.Bold, title))
		}
		lines = append(append(lines, table(rows...)...), nil)
	}
	section("", agents(s)...)
	section(s.Counts(), live(s)...)
	section("", latest(s)...)
	section("", outOfScope(s)...)
	if widening := s.Widening(); widening != "" {
		lines = append(lines, words("", "To allow them, add to the configuration:"), nil, words("", "scope:"), words("", "  allow:"), words("", "    # … what is there now"))
		for entry := range strings.Lines(widening) {
			lines = append(lines, words("", strings.TrimSuffix(entry, "\n")))
		}
		lines = append(lines, nil)
	}
	section("", refused(s)...)
	return lines[:max(len(lines)-1, 0)]
}

func agents(s admin.Status) [][]span {
	rows := [][]span{row("PROFILE", "SIGNS", "TASK", "TOKEN", "QUOTA", "")}
	for _, agent := range s.List() {
		signs, about := span{logline.Green, string(agent.Scheme)}, agent.As
		if !agent.Ready {
			signs, about = span{logline.Red, strings.TrimSpace("no: " + string(agent.Code))}, agent.Message
		}
		token := span{"", "-"}
		switch {
		case agent.LoginEnded != "":
			token = span{logline.Red, "log in again"}
		case agent.TokenExpires != nil && agent.Left() == 0:
			token.text = "expired"
		case agent.TokenExpires != nil:
			token.text = logline.Roughly(agent.Left())
		}
		task := span{"", cmp.Or(agent.Task, "-")}
		if agent.TaskOverdue != "" {
			task = span{logline.Yellow, task.text + " (overdue)"}
		}
		quota := span{"", cmp.Or(agent.Quota.String(), "-")}
		if agent.Quota.UsedUp() {
			quota.style = logline.Red
		}
		rows = append(rows, row(cmp.Or(agent.Profile, "-"), signs, task, token, quota, about))
	}
	return rows
}

func live(s admin.Status) [][]span {
	rows := [][]span{row("UNDER WAY", "FOR", "RECEIVED", "SENT", "CLIENT", "REQUEST")}
	for _, x := range s.Live {
		received, sent := logline.Bytes(x.Received), logline.Bytes(x.Sent)
		if x.Kind == proxy.KindTunnel {
			received, sent = "-", "-"
		}
		rows = append(rows, row(x.Kind, logline.Roughly(s.Ago(x.Started)), received, sent, cmp.Or(x.Client, "-"), strings.TrimSpace(x.Method+" "+logline.Target(x.Kind, x.Host, x.Path))))
	}
	return rows
}

func latest(s admin.Status) [][]span {
	rows := [][]span{row("LATEST", "STATUS", "TIME", "CREDENTIAL", "CLIENT", "REQUEST")}
	for _, r := range s.Requests {
		status := span{"", "-"}
		if r.Status != 0 {
			status.text = strconv.Itoa(r.Status)
			status.style = logline.StatusStyle(status.text)
		}
		what := strings.TrimSpace(r.Method + " " + logline.Target(r.Kind, r.Host, r.Path))
		if r.Kind != proxy.KindRequest {
			what += " (" + r.Kind + ")"
		}
		if r.Failure != "" {
			status.style, what = logline.Red, what+", "+logline.Cut(r.Failure, r.CutBy)
		}
		if r.Refused != "" {
			status.style, what = logline.Red, what+", "+r.Refused
		}
		rows = append(rows, row(logline.Roughly(s.Ago(r.Ended)), status, logline.Duration(r.Duration()), cmp.Or(logline.Credential(r.Scheme), "-"), cmp.Or(r.Client, "-"), what))
	}
	return rows
}

func outOfScope(s admin.Status) [][]span {
	rows := [][]span{row("OUT OF SCOPE", "TIMES", "AGO", "CLIENT", "BECAUSE OF", "REQUEST")}
	for _, m := range s.OutOfScope {
		action := span{logline.Red, "refused"}
		if m.Sent {
			action = span{logline.Yellow, "sent"}
		}
		rows = append(rows, row(action, strconv.Itoa(m.Count), logline.Roughly(s.Ago(m.Last)), cmp.Or(m.Client, "-"), string(m.Reason),
			m.Method+" https://"+strings.TrimSuffix(m.Host, ":443")+m.Path))
	}
	return rows
}

func refused(s admin.Status) [][]span {
	rows := [][]span{row("REFUSED", "TIMES", "AGO", "CLIENT", "HOST", "WHY")}
	for _, r := range s.Refusals {
		rows = append(rows, row(span{logline.Red, r.Code}, strconv.Itoa(r.Count), logline.Roughly(s.Ago(r.Last)), cmp.Or(r.Client, "-"), cmp.Or(r.Host, "-"), r.Reason))
	}
	return rows
}
