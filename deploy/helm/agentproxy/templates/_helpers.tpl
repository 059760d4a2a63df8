{{/* What both modes have in common. */}}

{{- define "agentproxy.labels" -}}
app.kubernetes.io/name: agentproxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A container that may do nothing but what its program does. */}}
{{- define "agentproxy.restricted" -}}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The proxy's configuration: what the mode needs, and what the values add. */}}
{{- define "agentproxy.config" -}}
{{- $config := fromYaml .mode }}
{{- $_ := set $config "other_hosts" .Values.otherHosts }}
{{- toYaml (mergeOverwrite $config .Values.config) }}
{{- end }}

{{- define "agentproxy.probes" -}}
startupProbe:
  exec: {command: [/agentproxy, check, --ready]}
  periodSeconds: 2
  timeoutSeconds: 20
  failureThreshold: 30
readinessProbe:
  exec: {command: [/agentproxy, check, --ready]}
  periodSeconds: 10
  timeoutSeconds: 20
{{- end }}

{{/* The agent's container: no credential, and nothing of the proxy's but what is public. */}}
{{- define "agentproxy.agent" -}}
name: agent
image: {{ .Values.agent.image }}
{{- with .Values.agent.command }}
command: {{ toJson . }}
{{- end }}
resources: {{ toJson .Values.agent.resources }}
securityContext:
  runAsUser: {{ .Values.agent.uid }}
  runAsGroup: {{ .Values.agent.uid }}
  {{- include "agentproxy.restricted" . | nindent 2 }}
{{- end }}

{{/* By these the agent's programs trust the proxy's CA, as agentproxy env would have them. */}}
{{- define "agentproxy.trust" -}}
{{- range list "CODEX_CA_CERTIFICATE" "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "CURL_CA_BUNDLE" "GIT_SSL_CAINFO" "NODE_EXTRA_CA_CERTS" }}
- {name: {{ . }}, value: /agentproxy/bundle.pem}
{{- end }}
- {name: NODE_USE_ENV_PROXY, value: "1"}
- {name: NO_PROXY, value: "localhost,127.0.0.1,::1"}
- {name: no_proxy, value: "localhost,127.0.0.1,::1"}
- {name: CODEX_HOME, value: /codex}
- {name: HOME, value: /tmp}
{{- end }}

{{/* What the proxy needs of the network: names, and HTTPS to public addresses. */}}
{{- define "agentproxy.egress" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
  to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
- ports: [{protocol: TCP, port: 443}]
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
{{- end }}
