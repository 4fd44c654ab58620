// Syntax of words that become parts of Kubernetes objects. Source: `k8s.io/apimachinery/pkg/util/validation`, which all servers
// from 1.20 on apply; where they differ, what the laxest of them takes is right here.

/** The name of a namespace or a container (RFC 1123 label). */
export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text);
}

/** The name of a secret (RFC 1123 subdomain, but for the length of its parts, which Kubernetes does not limit). */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= 253 && text.split('.').every((part) => /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(part));
}

/** The key of a label: a name, which may follow the domain that it belongs to (`example.com/team`). */
export function isLabelKey(text: string): boolean {
  const parts = text.split('/');
  const name = parts.pop() ?? '';
  if (parts.length > 1 || !parts.every(isDnsSubdomain)) return false;
  return name !== '' && isLabelValue(name);
}

/** Also what a toleration is for. */
export function isLabelValue(text: string): boolean {
  return text.length <= 63 && /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/.test(text);
}

/** Like the key of a label, but its domain may be in upper case. */
export function isAnnotationKey(text: string): boolean {
  return isLabelKey(text.toLowerCase());
}

/** A key within a secret. */
export function isSecretKey(text: string): boolean {
  return text.length <= 253 && /^[-._a-zA-Z0-9]+$/.test(text) && text !== '.' && !text.startsWith('..');
}

/** The name of an environment variable. Before 1.32 (1.30 with a feature gate) servers take letters, digits, `-`, `_` and `.` only. */
export function isVariableName(text: string): boolean {
  return /^[ -~]+$/.test(text) && !text.includes('=');
}
