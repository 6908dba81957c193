{{/*
One process of the control plane as a Deployment: dict "root" . "process" "api" "settings" .Values.api
  "environment" (list of {name, value} or {name, field}: a field of the pod)  "ports" (dict name -> port)
  "files" (dict mount path -> volume source with "name")  "readiness" and "liveness" (probes)
*/}}
{{- define "suanli.process" -}}
{{- $root := .root }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "suanli.name" $root }}-{{ .process }}
  labels:
    {{- include "suanli.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .process }}
spec:
  replicas: {{ .settings.replicas }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "suanli.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "suanli.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .process }}
      {{- with $root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "suanli.serviceAccount" $root }}
      {{- include "suanli.pod" $root | nindent 6 }}
      terminationGracePeriodSeconds: 30
      {{- if $root.Values.affinity }}
      affinity:
        {{- toYaml $root.Values.affinity | nindent 8 }}
      {{- else }}
      # Replicas of one process stand on different nodes where there are enough.
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "suanli.selector" . | nindent 20 }}
      {{- end }}
      containers:
        - name: {{ .process }}
          image: {{ include "suanli.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [python, -m, scheduler, {{ .process }}]
          {{- include "suanli.confined" $root | nindent 10 }}
          env:
            - name: SUANLI_DATABASE_URL
              valueFrom:
                secretKeyRef:
                  name: {{ $root.Values.database.secretName }}
                  key: {{ index $root.Values.database.keys .process }}
            # Announcements of a running process: nothing that must outlive it.
            - {name: SUANLI_DATA, value: /tmp/suanli}
            - {name: SUANLI_LOG_FORMAT, value: json}
            - name: SUANLI_NAME
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            - {name: SUANLI_METRICS_PORT, value: {{ $root.Values.metrics.port | quote }}}
            - {name: SUANLI_METRICS_TOKEN_FILE, value: /run/suanli/metrics/metrics.token}
            {{- range .environment }}
            {{- if .field }}
            - name: {{ .name }}
              valueFrom: {fieldRef: {fieldPath: {{ .field }}}}
            {{- else }}
            - {name: {{ .name }}, value: {{ .value | quote }}}
            {{- end }}
            {{- end }}
            {{- range $name, $value := .settings.environment }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
          ports:
            {{- range $name, $port := .ports }}
            - {name: {{ $name }}, containerPort: {{ $port }}}
            {{- end }}
          {{- with .readiness }}
          readinessProbe:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .liveness }}
          livenessProbe:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          resources:
            {{- toYaml .settings.resources | nindent 12 }}
          volumeMounts:
            - {name: scratch, mountPath: /tmp}
            - {name: metrics-token, mountPath: /run/suanli/metrics, readOnly: true}
            {{- range $path, $file := .files }}
            - {name: {{ $file.name }}, mountPath: {{ $path }}, readOnly: {{ $file.readOnly }}}
            {{- end }}
      volumes:
        - name: scratch
          emptyDir: {sizeLimit: 64Mi}
        - name: metrics-token
          secret: {secretName: {{ $root.Values.secrets.metrics }}, defaultMode: 0o440}
        {{- range $path, $file := .files }}
        - name: {{ $file.name }}
          {{- toYaml $file.source | nindent 10 }}
        {{- end }}
{{- end }}

{{/* What every pod of the control plane has. */}}
{{- define "suanli.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "suanli.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
