/**
 * The architecture as rules: main -> roles -> {api -> features -> ports -> domain; adapters -> ports}.
 * Each rule says why; `test/small/dependency-rules.spec.ts` plants a violation of each and sees it caught.
 */
const libraries = (names) => `node_modules/(${names.join('|')})/`;

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'domain-is-pure',
      comment: 'What is true depends on nothing: no framework, no library, no node module, no other layer.',
      severity: 'error',
      from: { path: '^src/domain/', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: '^src/domain/' },
    },
    {
      name: 'ports-speak-domain',
      comment: 'A port is in domain words; what it hides must not show in it.',
      severity: 'error',
      from: { path: '^src/ports/' },
      to: { pathNot: '^src/(ports|domain)/' },
    },
    {
      name: 'features-need-ports',
      comment: 'A feature says what it needs, not how it is done: a fake must be able to stand in.',
      severity: 'error',
      from: { path: '^src/features/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(features|ports|domain)/' },
    },
    {
      name: 'features-know-no-technology',
      comment: 'Drivers, transports and metrics libraries belong to adapters and to the API.',
      severity: 'error',
      from: { path: '^src/features/' },
      to: {
        path: libraries([
          'typeorm',
          'pg',
          'ioredis',
          'bullmq',
          '@nestjs/bullmq',
          'fastify',
          '@nestjs/platform-fastify',
          'pino',
          'prom-client',
          'zod',
          '@grpc/grpc-js',
          '@grpc/reflection',
          '@kubernetes/client-node',
        ]),
      },
    },
    {
      name: 'api-calls-features',
      comment: 'The API translates between the wire and the features; it reaches around them to nothing.',
      severity: 'error',
      from: { path: '^src/api/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(api|features|ports|domain|proto)/' },
    },
    {
      name: 'adapters-implement-ports',
      comment: 'An adapter knows its technology and the port, nothing of who calls it.',
      severity: 'error',
      from: { path: '^src/adapters/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(adapters|ports|domain|proto)/' },
    },
    {
      name: 'adapters-stand-alone',
      comment: 'Adapters do not use each other: each can be replaced alone.',
      severity: 'error',
      from: { path: '^src/adapters/([^/]+)/' },
      to: { path: '^src/adapters/', pathNot: '^src/adapters/$1/' },
    },
    {
      name: 'config-stands-alone',
      comment: 'Settings are read once, at the top, and handed down as values.',
      severity: 'error',
      from: { path: '^src/config/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(config|domain)/' },
    },
    {
      name: 'only-roles-read-config',
      comment: 'A feature or adapter takes the values it needs, so that a test can give others.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(roles|config)/|^src/main\\.ts$' },
      to: { path: '^src/config/' },
    },
    {
      name: 'roles-are-the-top',
      comment: 'Only main starts roles; nothing below knows in which process it runs.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(roles/|main\\.ts$)' },
      to: { path: '^src/(roles/|main\\.ts$)' },
    },
    {
      name: 'main-starts-roles',
      comment: 'main parses the command line and hands over.',
      severity: 'error',
      from: { path: '^src/main\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(roles/|domain/errors\\.ts$)' },
    },
    {
      name: 'product-needs-no-tests',
      comment: 'What ships does not import what tests it.',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.(spec|fixture)\\.ts$' },
      to: { path: '^(test|bench)/|\\.spec\\.ts$|\\.fixture\\.ts$' },
    },
    {
      name: 'no-circles',
      comment: 'Two files that need each other are one file, or three.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules|^src/proto/gen' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.cjs', '.mjs'] },
  },
};
