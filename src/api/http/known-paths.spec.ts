import { KnownPaths } from './known-paths';

describe('KnownPaths', () => {
  const paths = new KnownPaths();
  paths.add('/schedulers', ['GET']);
  paths.add('/schedulers', ['POST']);
  paths.add('/schedulers/info', ['GET']);
  paths.add('/schedulers/:schedulerName', ['GET', 'DELETE']);
  paths.add('/docs/*', ['GET']);

  it.each([
    ['a verb that the path lacks', 'PUT', '/schedulers', true],
    ['a verb that the path has', 'POST', '/schedulers', false],
    ['a query', 'PUT', '/schedulers?name=x', true],
    ['a variable', 'PUT', '/schedulers/a', true],
    ['a verb that one of two fitting paths has', 'DELETE', '/schedulers/info', false],
    ['an unknown path', 'PUT', '/scheduler', false],
    ['an empty variable', 'PUT', '/schedulers/', false],
    ['a segment too many', 'PUT', '/schedulers/a/b', false],
    ['a file below a wildcard that is not there', 'GET', '/docs/nothing.js', false],
    ['a wildcard', 'POST', '/docs/a/b.js', true],
  ])('sees %s', (_name, method, url, expected) => {
    expect(paths.isWrongVerb(method, url)).toBe(expected);
  });
});
