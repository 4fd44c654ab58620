/** Most that the keys and values of a pod's annotations may take together. Bytes (`TotalAnnotationSizeLimitB`). */
export const maxAnnotationBytes = 256 * 1024;

const mirrorPod = 'kubernetes.io/config.mirror';
const seccompOfPod = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompOfContainer = 'container.seccomp.security.alpha.kubernetes.io/';
const appArmorOfContainer = 'container.apparmor.security.beta.kubernetes.io/';

/**
 * Why no server takes a pod with this annotation, as the rest of a sentence; null when servers do. Few annotations mean something
 * to them (`ValidatePodSpecificAnnotations`); the alpha one for tolerations, which nothing reads since 1.6, is not looked into.
 */
export function annotationFault(key: string, value: string, containers: readonly string[]): string | null {
  if (key === mirrorPod) return 'must be left to the kubelet, which marks its own pods with it';
  if (key === seccompOfPod || key.startsWith(seccompOfContainer)) {
    return isSeccompProfile(value) ? null : 'must be runtime/default, docker/default, unconfined or localhost/<PATH>';
  }
  if (key.startsWith(appArmorOfContainer)) {
    if (!containers.includes(key.slice(appArmorOfContainer.length))) return 'must name a container of the scheduler';
    return isAppArmorProfile(value) ? null : 'must be runtime/default, unconfined or localhost/<NAME>';
  }
  return null;
}

function isSeccompProfile(profile: string): boolean {
  const [, path] = /^localhost\/(.*)$/s.exec(profile) ?? [];
  if (path !== undefined) return !path.startsWith('/') && !path.split('/').includes('..');
  return ['runtime/default', 'docker/default', 'unconfined'].includes(profile);
}

function isAppArmorProfile(profile: string): boolean {
  return ['', 'runtime/default', 'unconfined'].includes(profile) || profile.startsWith('localhost/');
}
