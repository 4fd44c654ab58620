/**
 * Which verbs a path has, so that a known path with another verb can be told from an unknown one (v10 answers 501 to the
 * first and 404 to the second). Filled from the routes as they are registered.
 */
export class KnownPaths {
  private readonly routes = new Map<string, { pattern: RegExp; methods: Set<string> }>();

  /** `path` in the router's notation: `/schedulers/:schedulerName`, `/docs/*`. */
  add(path: string, methods: readonly string[]): void {
    let route = this.routes.get(path);
    if (route === undefined) {
      const source = path
        .replace(/[\\^$.+?()[\]{}|]/g, '\\$&')
        .replace(/:\w+/g, '[^/]+')
        .replace(/\*$/, '.*');
      route = { pattern: new RegExp(`^${source}$`), methods: new Set() };
      this.routes.set(path, route);
    }
    for (const method of methods) route.methods.add(method);
  }

  /** Whether the path of this URL has routes, and none of them takes this method. */
  isWrongVerb(method: string, url: string): boolean {
    const path = url.split('?', 1)[0] ?? '';
    const matching = [...this.routes.values()].filter(({ pattern }) => pattern.test(path));
    return matching.length > 0 && !matching.some(({ methods }) => methods.has(method));
  }
}
