{{- define "grayscale.labels" -}}
app.kubernetes.io/name: grayscale
{{- end }}

{{- define "grayscale.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "grayscale.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "grayscale.exempt" -}}
{{ join ", " (concat (list "kube-system" .Release.Namespace) .Values.webhook.exemptNamespaces) }}
{{- end }}
