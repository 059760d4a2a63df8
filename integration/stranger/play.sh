#!/usr/bin/env bash
# What the stranger types. Each step is in README.md.
set -uo pipefail
began=$SECONDS

# step shows a command, runs it, and says how long it took.
step() {
  local start=$EPOCHREALTIME code=0
  printf '\n$ %s\n' "$1"
  eval "$1" </dev/null 2>&1 || code=$?
  printf '# %s s\n' "$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")"
  if ((code != 0)); then
    echo "the step failed with code $code" >&2
    exit 1
  fi
}

# terminal types into a terminal, and shows its screen once it shows what is waited for.
terminal() {
  local keys=$1 want=$2
  if [[ -n $keys ]]; then
    printf '\n# typed into the terminal: %s\n' "$keys"
    tmux send-keys -t s -l -- "$keys"
  fi
  for i in {1..480}; do
    if [[ -n $keys ]] && ((i % 8 == 3)) && tmux capture-pane -p -t s | grep -qF -- "$keys"; then
      tmux send-keys -t s Enter # again, if it came while Codex was busy
    fi
    if tmux capture-pane -p -t s | grep -qE -- "$want"; then
      tmux capture-pane -p -t s | sed -e '/^ *$/d' -e 's/^/| /'
      return
    fi
    sleep 0.5
  done
  tmux capture-pane -p -t s
  echo "the terminal never showed $want" >&2
  exit 1
}

step 'git clone --quiet https://github.com/agentproxy/agentproxy && cd agentproxy && git log -1 --format="the commit of %cs"'
step 'make demo'

# What the demo says last.
step 'bin/agentproxy backend --dir standin >backend.log 2>&1 & until test -e standin/agentproxy.yaml; do sleep 0.1; done; cat backend.log'
step 'bin/agentproxy check --config standin/agentproxy.yaml'
step 'bin/agentproxy run --config standin/agentproxy.yaml -- codex exec --skip-git-repo-check "say hi"'
tmux() { command tmux -L stranger "$@"; }
tmux -f /dev/null new-session -d -s s -x 110 -y 40 'bash --norc'
terminal 'bin/agentproxy run --config standin/agentproxy.yaml -- codex' 'Trust and continue|Yes, continue'
tmux send-keys -t s Enter
terminal '' 'Ask Codex'
sleep 2 # until it takes what is typed
terminal 'say hi once more' 'Hello from the stand-in backend'
terminal '/quit' 'To continue this session|Token usage'

# README, "As a proxy that stays", and the page.
step 'bin/agentproxy serve --config standin/agentproxy.yaml >serve.log 2>&1 & until bin/agentproxy check --ready --config standin/agentproxy.yaml 2>/dev/null; do sleep 0.2; done'
step 'eval "$(bin/agentproxy env --config standin/agentproxy.yaml)"; curl -s -o answer.json -w "%{http_code}\n" "https://chatgpt.com/backend-api/codex/models?client_version=0.171.0"'
step 'bin/agentproxy top --config standin/agentproxy.yaml --once'
step 'curl -s --noproxy "*" http://127.0.0.1:9080/ | sed -e "s/<[^>]*>/ /g" | grep -v "^ *$" | head -40'
step 'cat serve.log'
tmux kill-server
kill %1 %2 2>/dev/null
wait
printf '\n# %s minutes in all\n' "$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $began) / 60 }")"
