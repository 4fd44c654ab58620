/**
 * The versions that `selector` means: that one, or each that begins with it up to a dot (`v2` means `v2.1.0` and not `v20.0.0`).
 * The leading `v` counts on neither side. An empty selector means all.
 */
export function selectVersions(versions: readonly string[], selector: string): string[] {
  const wanted = withoutV(selector);
  return versions.filter((version) => {
    const text = withoutV(version);
    return wanted === '' || text === wanted || text.startsWith(`${wanted}.`);
  });
}

function withoutV(version: string): string {
  return version.replace(/^v/, '');
}
