import { DomainError } from '../../domain/errors';
import { ListOperationsRequestSchema } from '../../proto/gen/api/v1/operations_pb';
import { DeleteRoomRequestSchema } from '../../proto/gen/maestro/v1/scheduler_rooms_pb';
import { decodeQuery, queryWord } from './decode-query';

const decode = (query: string): unknown => decodeQuery(ListOperationsRequestSchema, `/x${query}`, ['schedulerName']);

describe('decodeQuery (management.md 1.2)', () => {
  it.each<[string, string, object]>([
    ['no query', '', {}],
    ['an empty query', '?', {}],
    ['camelCase', '?orderBy=createdAt&perPage=5', { orderBy: 'createdAt', perPage: '5' }],
    ['snake_case', '?order_by=createdAt&per_page=5', { orderBy: 'createdAt', perPage: '5' }],
    ['escapes and plus signs', '?orderBy=createdAt+asc%20x%2B', { orderBy: 'createdAt asc x+' }],
    ['an empty value', '?stage=', { stage: '' }],
    ['a name without a value', '?stage', { stage: '' }],
    ['unknown names', '?verbose=1&stage=final&&', { stage: 'final' }],
    ['a field of the path', '?schedulerName=other&scheduler_name=other', {}],
    ['leading zeros', '?page=007', { page: '7' }],
    ['the largest uint32', '?page=4294967295', { page: '4294967295' }],
    ['__proto__', '?__proto__=1', {}],
  ])('reads %s', (_name, query, expected) => {
    expect(decode(query)).toEqual(expected);
  });

  it.each([
    ['a parameter twice', '?stage=a&stage=b', 'too many values for field "stage": a, b'],
    ['a parameter by both names', '?perPage=1&per_page=2', 'too many values for field "per_page": 1, 2'],
    ['a word for a number', '?page=x', 'parsing field "page": "x" is not a number'],
    ['nothing for a number', '?page=', 'parsing field "page": "" is not a number'],
    ['a negative number', '?page=-1', 'parsing field "page": "-1" is not a number'],
    ['a fraction', '?page=1.0', 'parsing field "page": "1.0" is not a number'],
    ['a number out of range', '?page=4294967296', 'parsing field "page": 4294967296 is out of range'],
    ['a broken escape', '?stage=%zz', 'invalid escape in the query: "%zz"'],
    ['bytes that are not UTF-8', '?stage=%ff', 'invalid escape in the query: "%ff"'],
  ])('refuses %s', (_name, query, message) => {
    expect(() => decode(query)).toThrow(new DomainError('invalid_argument', 'request.malformed', message));
  });
});

describe('decodeQuery of a boolean', () => {
  const drain = (query: string): unknown => decodeQuery(DeleteRoomRequestSchema, `/x${query}`, []);

  it.each([
    ['?drain=true', { drain: true }],
    ['?drain=false', { drain: false }],
    ['', {}],
  ])('reads "%s"', (query, expected) => {
    expect(drain(query)).toEqual(expected);
  });

  it.each(['', '1', 'True', 'yes'])('refuses "%s"', (value) => {
    const message = `parsing field "drain": "${value}" is neither true nor false`;
    expect(() => drain(`?drain=${value}`)).toThrow(new DomainError('invalid_argument', 'request.malformed', message));
  });
});

describe('queryWord', () => {
  const word = (query: string): string => queryWord(`/x${query}`, 'as', ['patch', 'version']);

  it.each([
    ['nothing', '', 'patch'],
    ['other parameters', '?a=1&a=2&b=%zz', 'patch'],
    ['the first word', '?as=patch', 'patch'],
    ['another word', '?x=1&as=version', 'version'],
    ['an escaped word', '?as=%76ersion', 'version'],
  ])('reads %s', (_name, query, expected) => {
    expect(word(query)).toBe(expected);
  });

  it.each([
    ['a word that is none', '?as=x', 'malformed request: field "as": must be one of patch, version, got "x"'],
    ['no word', '?as', 'malformed request: field "as": must be one of patch, version, got ""'],
    [
      'a property of every object',
      '?as=length',
      'malformed request: field "as": must be one of patch, version, got "length"',
    ],
    ['the parameter twice', '?as=patch&as=patch', 'too many values for field "as": patch, patch'],
    ['a broken escape', '?as=%zz', 'invalid escape in the query: "%zz"'],
  ])('refuses %s', (_name, query, message) => {
    expect(() => word(query)).toThrow(new DomainError('invalid_argument', 'request.malformed', message));
  });
});
