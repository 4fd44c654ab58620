/** What a field's comment in a .proto file says, as OpenAPI keywords. */
export interface FieldComment {
  description: string;
  required: boolean;
  example?: unknown;
  default?: unknown;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  minLength?: number;
  maxLength?: number;
}

/**
 * Reads the comment of a field. Prose is the description; these lines are keywords (see `src/proto/README.md`):
 * `Example: VALUE`, `Default: VALUE`, `One of: A, B.`, `Limits: 1 to 35.`, `Limits: at least 1.`,
 * `Limits: more than 0, less than 1.`, `Limits: 1 to 63 characters...`; and the word `Required.` at the end of a line.
 * A value is JSON, or text if it is none. What a keyword cannot hold stays readable: limits and words are also described.
 */
export function parseFieldComment(comment: string): FieldComment {
  const prose: string[] = [];
  const result: FieldComment = { description: '', required: false };
  for (const line of comment.split('\n')) {
    const [, keyword = '', text = ''] = /^(Example|Default|One of|Limits): (.*)$/.exec(line) ?? [];
    switch (keyword) {
      case 'Example':
        result.example = parseValue(text);
        break;
      case 'Default':
        result.default = parseValue(text);
        break;
      case 'One of':
        result.enum = text.replace(/\.$/, '').split(', ');
        break;
      case 'Limits':
        Object.assign(result, parseLimits(text));
        prose.push(line);
        break;
      default:
        if (/(?:^|\s)Required\.$/.test(line)) result.required = true;
        prose.push(line);
    }
  }
  result.description = prose.join(' ').trim();
  return result;
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parseLimits(text: string): Partial<FieldComment> {
  const limits: Partial<FieldComment> = {};
  const range = /^(-?[\d.]+) to (-?\d+(?:\.\d+)?)( characters)?/.exec(text);
  if (range) {
    const [from, to] = [Number(range[1]), Number(range[2])];
    return range[3] ? { minLength: from, maxLength: to } : { minimum: from, maximum: to };
  }
  const least = /at least (-?\d+(?:\.\d+)?)/.exec(text);
  if (least) limits.minimum = Number(least[1]);
  const more = /^more than (-?\d+(?:\.\d+)?)/.exec(text);
  if (more) Object.assign(limits, { minimum: Number(more[1]), exclusiveMinimum: true });
  const less = /, less than (-?\d+(?:\.\d+)?)/.exec(text);
  if (less) Object.assign(limits, { maximum: Number(less[1]), exclusiveMaximum: true });
  return limits;
}
