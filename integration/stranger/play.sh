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
    sleep 1 # or Codex takes it for a paste, in which Enter is a new line
    tmux send-keys -t s Enter
  fi
  for _ in {1..240}; do
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
step 'make build'
export PATH=$PWD/bin:$PATH
step 'agentproxy --version'
step 'agentproxy --help'

# README, "Without an account".
step 'agentproxy backend --dir standin >backend.log & sleep 0; until test -e standin/agentproxy.yaml; do sleep 0.1; done; cat backend.log'
step 'agentproxy check --config standin/agentproxy.yaml'
step 'agentproxy run --config standin/agentproxy.yaml -- codex exec --skip-git-repo-check "say hi"'
tmux -L stranger -f /dev/null new-session -d -s s -x 110 -y 40 "bash --norc" 2>/dev/null
tmux() { command tmux -L stranger "$@"; }
terminal 'agentproxy run --config standin/agentproxy.yaml -- codex' 'Yes, continue|Ask Codex|\? for shortcuts'
if tmux capture-pane -p -t s | grep -q 'Yes, continue'; then
  tmux send-keys -t s Enter
  terminal '' 'Ask Codex|\? for shortcuts|context left'
fi
terminal 'say hi once more' 'Hello from the stand-in backend'
terminal '/quit' 'To continue this session|Token usage|\$ *$'

# README, "As a proxy that stays", and the page.
step 'agentproxy serve --config standin/agentproxy.yaml 2>serve.log & until agentproxy check --ready --config standin/agentproxy.yaml 2>/dev/null; do sleep 0.2; done'
step 'eval "$(agentproxy env --config standin/agentproxy.yaml)"; curl -s -o answer.json -w "%{http_code}\n" "https://chatgpt.com/backend-api/codex/models?client_version=0.171.0"'
step 'curl -s --noproxy "*" http://127.0.0.1:9080/ | sed -e "s/<[^>]*>/ /g" | grep -v "^ *$" | head -40'
tmux kill-server
kill %1 %2 2>/dev/null
wait
printf '\n# %s minutes in all\n' "$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $began) / 60 }")"
