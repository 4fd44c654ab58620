import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { settingsDocument } from './settings-document';

it('is what docs/settings.md says ("npm run generate" writes it)', () => {
  expect(readFileSync(resolve(__dirname, '../../docs/settings.md'), 'utf8')).toBe(settingsDocument());
});
