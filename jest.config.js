/**
 * Five kinds of tests, one project each (CONTRIBUTING.md says what each may touch).
 * Nest 12 and a few of its friends ship ES modules only; Jest runs CommonJS, so those are transformed too.
 */
const esmPackages = [
  '@nestjs',
  '@bufbuild',
  '@kubernetes/client-node',
  '@borewit',
  '@tokenizer',
  'balanced-match',
  'brace-expansion',
  'content-disposition',
  'cookie',
  'file-type',
  'glob',
  'jose',
  'jsonpath-plus',
  'lru-cache',
  'minimatch',
  'minipass',
  'oauth4webapi',
  'openid-client',
  'path-scurry',
  'strtok3',
  'token-types',
  'uint8array-extras',
];

const shared = {
  testEnvironment: 'node',
  transform: { '^.+\\.(t|j|mj|cj)s$': '@swc/jest' },
  transformIgnorePatterns: [`/node_modules/(?!(${esmPackages.join('|')})/)`],
  setupFiles: ['reflect-metadata'],
};

/** @type {import('jest').Config} */
module.exports = {
  // Bounds hangs, no more: starting a server takes seconds on a busy machine.
  testTimeout: 60_000,
  projects: [
    { ...shared, displayName: 'small', testMatch: ['<rootDir>/src/**/*.spec.ts', '<rootDir>/test/small/**/*.spec.ts'] },
    { ...shared, displayName: 'contract', testMatch: ['<rootDir>/test/contract/**/*.spec.ts'] },
    { ...shared, displayName: 'integration', testMatch: ['<rootDir>/test/integration/**/*.spec.ts'] },
    { ...shared, displayName: 'conformance', testMatch: ['<rootDir>/test/conformance/**/*.spec.ts'] },
    { ...shared, displayName: 'e2e', testMatch: ['<rootDir>/test/e2e/**/*.spec.ts'] },
  ],
};
