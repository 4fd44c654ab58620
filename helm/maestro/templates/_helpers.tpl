{{- define "maestro.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* 40 characters, so that a role's name fits behind it in a label's 63. */}}
{{- define "maestro.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "maestro.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Of everything. Argument: the root. */}}
{{- define "maestro.labels" -}}
app.kubernetes.io/name: {{ include "maestro.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The name of what belongs to a role, e.g. "maestro-runtime-watcher". Argument: dict "root" $ "role" "runtimeWatcher". */}}
{{- define "maestro.roleName" -}}
{{- printf "%s-%s" (include "maestro.fullname" .root) (.role | kebabcase) }}
{{- end }}

{{/* The service account that a role runs as. Argument: as above. */}}
{{- define "maestro.serviceAccountName" -}}
{{- $account := index .root.Values.serviceAccounts .role -}}
{{- if $account.create -}}
{{- default (include "maestro.roleName" .) $account.name }}
{{- else -}}
{{- default "default" $account.name }}
{{- end -}}
{{- end }}
