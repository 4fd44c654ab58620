/**
 * Lets plain Node run our TypeScript: `node -r <this file> file.ts`. For programs that tests start as processes of their own;
 * Jest transforms what it runs itself. Options come from `.swcrc`, as for the build.
 */
const { readFileSync, statSync } = require('node:fs');
const Module = require('node:module');
const { dirname, join, resolve } = require('node:path');
const { transformSync } = require('@swc/core');

Module._extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), { filename, sourceMaps: 'inline' });
  module._compile(code, filename);
};

// `./lock` in a CommonJS TypeScript file means `./lock.ts`.
const resolveFilename = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  if (request.startsWith('.') && parent?.filename?.endsWith('.ts')) {
    const file = `${resolve(dirname(parent.filename), request)}.ts`;
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  }
  return resolveFilename.call(this, request, parent, ...rest);
};

exports.path = join(__dirname, 'swc-register.cjs');
