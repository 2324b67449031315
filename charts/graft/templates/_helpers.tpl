{{/* Names, labels, images, settings. */}}

{{- define "graft.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "graft.fullname" -}}
{{- $name := include "graft.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Objects of the whole cluster carry the namespace too, so that two installations do not meet. */}}
{{- define "graft.clusterName" -}}
{{- if eq .Release.Namespace "graft-system" -}}
{{- include "graft.fullname" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "graft.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "graft.selector" -}}
app.kubernetes.io/name: {{ include "graft.name" . }}-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "graft.labels" -}}
{{ include "graft.selector" . }}
app.kubernetes.io/part-of: graft
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "graft.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (printf "%s-operator" (include "graft.fullname" .)) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The user that the API server sees. */}}
{{- define "graft.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "graft.serviceAccountName" . }}
{{- end -}}

{{/* (dict "image" … "root" …) */}}
{{- define "graft.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- .image.repository -}}:{{- $tag -}}{{- with .image.digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{/* A setting as the operator reads it: lists and maps with commas. */}}
{{- define "graft.setting" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}{{- end -}}
{{- join "," $pairs -}}
{{- else if not (kindIs "invalid" .) -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "graft.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: GRAFT_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: GRAFT_PROBE_PORT
  value: {{ .Values.probePort | quote }}
- name: GRAFT_TRAINER_IMAGE
  value: {{ include "graft.image" (dict "image" .Values.image.trainer "root" .) | quote }}
- name: GRAFT_PREDICTOR_IMAGE
  value: {{ include "graft.image" (dict "image" .Values.image.predictor "root" .) | quote }}
{{- range $key, $value := .Values.config }}
{{- $text := include "graft.setting" $value }}
{{- if $text }}
- name: GRAFT_{{ $key | snakecase | upper }}
  value: {{ $text | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Namespaces of jobs and releases that get NetworkPolicies, as JSON. */}}
{{- define "graft.workloadNamespaces" -}}
{{- .Values.networkPolicies.namespaces | default .Values.watchNamespaces | toJson -}}
{{- end -}}

{{- define "graft.dnsEgress" -}}
- to:
  - namespaceSelector: {}
    podSelector: {matchLabels: {k8s-app: kube-dns}}
  - ipBlock: {cidr: 169.254.20.10/32}  # NodeLocal DNS
  ports:
  - {protocol: UDP, port: 53}
  - {protocol: TCP, port: 53}
{{- end -}}
