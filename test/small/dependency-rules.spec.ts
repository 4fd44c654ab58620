import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

interface Rule {
  name: string;
}

const root = resolve(__dirname, '../..');
// eslint-disable-next-line @typescript-eslint/no-require-imports -- the linter's own configuration is CommonJS
const { forbidden } = require('../../.dependency-cruiser.cjs') as { forbidden: Rule[] };

/** One file per rule that breaks it: what it imports. The key is the rule. */
const violations: Record<string, { file: string; imports: string }> = {
  'domain-is-pure': { file: 'src/domain/a.ts', imports: 'node:fs' },
  'ports-speak-domain': { file: 'src/ports/a.ts', imports: '../adapters/one/a' },
  'features-need-ports': { file: 'src/features/a.ts', imports: '../adapters/one/a' },
  'features-know-no-technology': { file: 'src/features/b.ts', imports: 'ioredis' },
  'api-calls-features': { file: 'src/api/a.ts', imports: '../adapters/one/a' },
  'adapters-implement-ports': { file: 'src/adapters/one/b.ts', imports: '../../features/b' },
  'adapters-stand-alone': { file: 'src/adapters/one/c.ts', imports: '../two/a' },
  'config-stands-alone': { file: 'src/config/a.ts', imports: '../ports/b' },
  'only-roles-read-config': { file: 'src/adapters/one/d.ts', imports: '../../config/b' },
  'roles-are-the-top': { file: 'src/api/b.ts', imports: '../roles/a' },
  'main-starts-roles': { file: 'src/main.ts', imports: './ports/b' },
  'product-needs-no-tests': { file: 'src/roles/b.ts', imports: '../../test/a' },
  'no-circles': { file: 'src/domain/c.ts', imports: './d' },
};

const innocents: Record<string, string> = {
  'src/adapters/one/a.ts': '',
  'src/adapters/two/a.ts': '',
  'src/ports/b.ts': '',
  'src/config/b.ts': '',
  'src/roles/a.ts': '',
  'test/a.ts': '',
  'src/domain/d.ts': "import './c';",
};

describe('the dependency rules', () => {
  let directory: string;
  let broken: Map<string, string[]>;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'maestro-rules-'));
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    symlinkSync(join(root, 'tsconfig.json'), join(directory, 'tsconfig.json'));
    for (const [file, text] of Object.entries(innocents)) write(file, text);
    for (const { file, imports } of Object.values(violations)) write(file, `import '${imports}';`);
    broken = cruise();
  }, 60_000);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function write(file: string, text: string): void {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\nexport const planted = 1;\n`);
  }

  /** The files that broke each rule. */
  function cruise(): Map<string, string[]> {
    const found = new Map<string, string[]>();
    const output = runCruiser();
    const { summary } = JSON.parse(output) as { summary: { violations: { from: string; rule: Rule }[] } };
    for (const { from, rule } of summary.violations) found.set(rule.name, [...(found.get(rule.name) ?? []), from]);
    return found;
  }

  function runCruiser(): string {
    const arguments_ = ['--config', join(root, '.dependency-cruiser.cjs'), '--output-type', 'json', 'src'];
    try {
      return execFileSync(join(root, 'node_modules/.bin/depcruise'), arguments_, { cwd: directory, encoding: 'utf8' });
    } catch (error) {
      // It exits with the number of violations.
      return (error as { stdout: string }).stdout;
    }
  }

  it.each(forbidden.map((rule) => rule.name))('catch a planted violation of %s', (name) => {
    expect(broken.get(name)).toContain(violations[name]?.file);
  });
});
