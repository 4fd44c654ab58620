/** What a browser, and everyone, says about where a request comes from and where it goes. */
export interface CallerHeaders {
  host?: string | undefined;
  origin?: string | undefined;
  'sec-fetch-site'?: string | string[] | undefined;
}

/** Why a request is refused; null when it may pass. */
export type Refusal = {
  reason: 'no_host' | 'foreign_host' | 'foreign_origin' | 'foreign_site';
  message: string;
} | null;

/** A name for this very machine: a page cannot make a browser send one of these for a host of its own (DNS rebinding). */
const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Decides whether a request may drive this API. Any Content-Type is read as JSON and the local runtime runs commands, so a
 * web page that a developer happens to visit must not reach it: neither by a cross-site request (`Origin`,
 * `Sec-Fetch-Site`; https://www.w3.org/TR/fetch-metadata/) nor by DNS rebinding (`Host`). Programs send neither of the
 * first two and pass by their `Host`.
 *
 * `allowedHosts`: host names that this API is known by, without port: `maestro.example`, `.example` for every name below
 * it, `*` for any. Loopback names are always allowed.
 */
export function refuseForeignCaller(headers: CallerHeaders, allowedHosts: readonly string[]): Refusal {
  const host = headers.host?.toLowerCase();
  if (host === undefined || host === '') {
    return { reason: 'no_host', message: 'the request has no Host header' };
  }
  const hostname = /^(\[[0-9a-f:.]+\]|[^:[\]/@\s]+)(?::\d{1,5})?$/.exec(host)?.[1];
  if (hostname === undefined || !isAllowedHost(hostname, allowedHosts)) {
    return { reason: 'foreign_host', message: `host ${JSON.stringify(host)} is not on the list of allowed hosts` };
  }
  const { origin } = headers;
  if (origin !== undefined && !isSameHost(origin, host)) {
    return { reason: 'foreign_origin', message: `origin ${JSON.stringify(origin)} is not this API` };
  }
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    return { reason: 'foreign_site', message: `requests of other sites are refused (Sec-Fetch-Site: ${String(site)})` };
  }
  return null;
}

function isAllowedHost(hostname: string, allowedHosts: readonly string[]): boolean {
  if (loopbackNames.has(hostname)) return true;
  return allowedHosts.some((entry) => {
    const allowed = entry.toLowerCase();
    return allowed === '*' || allowed === hostname || (allowed.startsWith('.') && hostname.endsWith(allowed));
  });
}

/** Compares host and port; the scheme's own port may be left out. The scheme itself may be a proxy's. */
function isSameHost(origin: string, host: string): boolean {
  const from = parseUrl(origin);
  if (from === null || (from.protocol !== 'http:' && from.protocol !== 'https:')) return false;
  return parseUrl(`${from.protocol}//${host}`)?.host === from.host;
}

function parseUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
