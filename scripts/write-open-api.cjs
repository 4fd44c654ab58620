/** `node -r test/support/swc-register.cjs scripts/write-open-api.cjs DIRECTORY`: writes the OpenAPI document of each API there. */
const { mkdirSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { committedDocuments } = require('../src/api/openapi/committed-documents.ts');

async function write(directory) {
  mkdirSync(directory, { recursive: true });
  for (const [name, document] of Object.entries(await committedDocuments())) {
    writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(document, null, 2)}\n`);
  }
}

write(process.argv[2]);
