{{/* Names and labels. */}}
{{- define "suanli.name" -}}
{{- if contains "suanli" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-suanli" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "suanli.labels" -}}
app.kubernetes.io/name: suanli
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects the pods of one process: dict "root" . "process" "api" */}}
{{- define "suanli.selector" -}}
app.kubernetes.io/name: suanli
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .process }}
{{- end }}

{{- define "suanli.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}{{ else if .Values.serviceAccount.create }}{{ include "suanli.name" . }}{{ else }}default{{ end }}
{{- end }}

{{- define "suanli.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Claims of the shared folders: dict "root" . "folder" "log" */}}
{{- define "suanli.claim" -}}
{{- $storage := index .root.Values.storage .folder }}
{{- if $storage.existingClaim }}{{ $storage.existingClaim }}{{ else }}{{ include "suanli.name" .root }}-{{ .folder | kebabcase }}{{ end }}
{{- end }}
