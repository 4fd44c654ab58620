import { variableOf } from './load-config';
import { obsoleteKeys, settings, type Setting } from './settings';

/** `docs/settings.md`: every setting there is. Made by `npm run generate`; a test compares it with the committed file. */
export function settingsDocument(): string {
  const rows = (Object.values(settings) as Setting<unknown>[]).map((setting) => [
    `\`${setting.key}\``,
    `\`${variableOf(setting.key)}\``,
    setting.default === undefined || setting.default === '' ? '' : `\`${setting.default}\``,
    setting.help,
    (setting.aliases ?? []).map((alias) => `\`${alias}\``).join(', '),
  ]);
  return `# Settings

<!-- Made from src/config/settings.ts by "npm run generate". -->

A key stands in the YAML file (\`-c FILE\`, nested at the dots), its variable in the environment, which wins. Durations are \`500ms\`,
\`10s\`, \`1m30s\`; a plain number counts milliseconds where the key ends in Millis, and seconds else. v10's keys for the same thing are
accepted, in the file and as variables by the same rule. \`MAESTRO_API_PORT\` (\`api.port\`) is the port of the API role that runs, when
exactly one does.

${table(['Key', 'Variable', 'Default', 'Meaning', "v10's keys"], rows)}
## Accepted without effect

These keys of v10 mean nothing here; a log line says so at start.

${table(
  ['Key', 'Why'],
  Object.entries(obsoleteKeys).map(([key, reason]) => [`\`${key}\``, reason]),
)}`;
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length), 3));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |\n`;
  return line(head) + line(widths.map((width) => '-'.repeat(width))) + rows.map(line).join('');
}
