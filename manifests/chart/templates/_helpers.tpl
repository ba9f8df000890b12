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

{{- define "grayscale.trust" -}}
{{- if eq .Values.webhook.certificate.mode "self-managed" -}}
grayscale adds the caBundle and a secret path by itself
{{- else if eq .Values.webhook.certificate.mode "cert-manager" -}}
cert-manager's cainjector adds the caBundle, grayscale a secret path
{{- else -}}
the CA of the certificate that is mounted; grayscale adds a secret path
{{- end -}}
{{- end }}

{{- define "grayscale.certificateSecret" -}}
{{- if eq .Values.webhook.certificate.mode "mounted" -}}
{{ required "webhook.certificate.mode mounted needs webhook.certificate.secretName" .Values.webhook.certificate.secretName }}
{{- else -}}
grayscale-webhook-tls
{{- end -}}
{{- end }}
