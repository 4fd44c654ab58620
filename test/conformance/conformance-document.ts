import {
  codes,
  patterns,
  routes,
  type ConformanceCase,
  type ConformanceGroup,
  type Expected,
  type JsonMap,
  type Step,
} from './conformance-case';
import { conformanceGroups } from './conformance-cases';
import { changesOfSample, sample } from './sample-scheduler';

/** `docs/conformance.md`: every case with what is called and what is answered. */
export function conformanceDocument(): string {
  const cases = conformanceGroups.flatMap((group) => group.cases);
  const overBoth = cases.filter(({ restOnly }) => restOnly === undefined).length;
  return [
    '# Conformance of the management API',
    '',
    `What clients of Maestro v10 rely on, case by case: ${cases.length} cases, each replayed over REST, and ${overBoth} of them over gRPC, against the`,
    'management API with its databases and a worker (`npx jest --selectProjects conformance`). Made from `test/conformance/cases` by',
    '`npm run generate`; section numbers are those of the specification of v10 that the cases are taken from.',
    '',
    'Requests for a scheduler are told by what differs from this sample:',
    '',
    '```json',
    JSON.stringify(sample(), null, 2),
    '```',
    '',
    '`{scheduler}` and other words in braces are names of the case, or values that an answer before held. `‹time›` and the like stand for',
    'any such text, `/…/` is a pattern. An answer may hold more than what is told, unless it says _exactly_. _Eventually_: repeated until',
    'it answers so. Fields of a call are in the path, in the query of a GET, or in the body:',
    '',
    '| Call | Over REST |',
    '| --- | --- |',
    ...Object.entries(routes).map(([rpc, { verb, path }]) => `| ${rpc} | \`${verb} ${path}\` |`),
    '',
    '| Refusal | Code | HTTP status |',
    '| --- | --- | --- |',
    ...Object.entries(codes).map(([name, { grpc, http }]) => `| ${name} | ${grpc} | ${http} |`),
    '',
    '## Contents',
    '',
    ...conformanceGroups.map(
      ({ section, title }) => `- [${heading({ section, title })}](#${anchor({ section, title })})`,
    ),
    '',
    '## Where Maestro differs from v10 on purpose',
    '',
    ...conformanceGroups.flatMap((group) =>
      group.cases.flatMap(({ says, differs }) =>
        differs === undefined ? [] : [`- **${group.section}** ${says}. ${differs}`],
      ),
    ),
    '',
    ...conformanceGroups.flatMap(renderGroup),
  ].join('\n');
}

type Heading = Pick<ConformanceGroup, 'section' | 'title'>;

function heading({ section, title }: Heading): string {
  return `${section} ${title}`;
}

/** As GitHub makes it. */
function anchor(group: Heading): string {
  return heading(group)
    .toLowerCase()
    .replace(/[^\w\s-]/g, '')
    .replaceAll(' ', '-');
}

function renderGroup(group: ConformanceGroup): string[] {
  return [`## ${heading(group)}`, '', ...group.cases.flatMap(renderCase), ''];
}

function renderCase({ says, differs, restOnly, steps }: ConformanceCase): string[] {
  const given = steps.flatMap((step) => (step.given ? [`${step.given}${renderSetting(step)}`] : []));
  return [
    `- **${says}**${restOnly === undefined ? '' : ` _(REST only: ${restOnly})_`}`,
    ...(given.length === 0 ? [] : [`  - _given_ ${given.join(' ')}`]),
    ...steps.filter((step) => step.given === undefined).map((step) => `  - ${renderStep(step)}`),
    ...(differs === undefined ? [] : [`  - _differs:_ ${differs}`]),
  ];
}

/** What a step that is given makes, where that matters. */
function renderSetting(step: Step): string {
  const told = 'call' in step && changesOfSample(step.message) !== undefined ? renderMessage(step.message) : '';
  const asks = told === 'of the sample' ? '' : told.replace(/^of the sample /, '');
  return `${asks === '' ? '' : ` ${asks}`}${renderKept(step)}`;
}

function renderStep(step: Step): string {
  return `${step.eventually ? '_eventually_ ' : ''}${renderCall(step)} → ${renderAnswer(step)}${renderKept(step)}`;
}

function renderCall(step: Step): string {
  if ('call' in step) return `${step.call} ${renderMessage(step.message)}`.trim();
  const headers = Object.entries(step.headers ?? {}).map(([name, value]) => ` with ${code(`${name}: ${value}`)}`);
  return `${code(step.request)}${headers.join('')}${step.body === undefined ? '' : ` ${code(shortened(step.body))}`}`;
}

function renderMessage(message: JsonMap): string {
  const changes = changesOfSample(message);
  if (changes === undefined) return Object.keys(message).length === 0 ? '' : code(JSON.stringify(message));
  const told = Object.entries(changes).map(([path, value]) =>
    value === undefined ? `no ${code(path)}` : `${code(path)} ${code(JSON.stringify(value))}`,
  );
  return told.length === 0 ? 'of the sample' : `of the sample with ${told.join(', ')}`;
}

function renderAnswer(step: Step): string {
  if (step.refuses) {
    const { code: name, message } = step.refuses;
    return `${name} ${code(shown(message))}`;
  }
  if ('status' in step && step.status !== undefined) return `HTTP ${step.status}`;
  if (step.answersExactly) return `_exactly_ ${code(shown(step.answersExactly))}`;
  return Object.keys(step.answers ?? {}).length === 0 ? 'success' : code(shown(step.answers ?? null));
}

function renderKept({ keep }: Step): string {
  const names = Object.entries(keep ?? {}).map(([name, path]) => `\`{${name}}\` is its ${code(path)}`);
  return names.length === 0 ? '' : `; ${names.join(', ')}`;
}

/** As JSON, with patterns as they are. */
function shown(expected: Expected): string {
  if (expected instanceof RegExp) {
    const named = Object.entries(patterns).find(([, pattern]) => pattern === expected);
    return named ? `‹${named[0]}›` : expected.toString();
  }
  if (Array.isArray(expected)) return `[${(expected as Expected[]).map(shown).join(',')}]`;
  if (typeof expected !== 'object' || expected === null) return JSON.stringify(expected);
  const members = Object.entries(expected).map(([key, value]) => `${JSON.stringify(key)}:${shown(value)}`);
  return `{${members.join(',')}}`;
}

function shortened(text: string): string {
  return text.length > 120 ? `${text.slice(0, 100)}…` : text;
}

/** Code in Markdown, whatever is in it: lines become a visible mark. */
function code(text: string): string {
  const line = text.replaceAll('\n', ' ⏎ ');
  return line.includes('`') ? `\`\` ${line} \`\`` : `\`${line}\``;
}
