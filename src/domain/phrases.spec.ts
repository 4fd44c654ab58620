import { asClause, counted } from './phrases';

it.each([
  [0, '0 rooms'],
  [1, '1 room'],
  [2, '2 rooms'],
])('%d of something is %s', (count, words) => expect(counted(count, 'room')).toBe(words));

it('takes a plural that is not the singular and an s', () => expect(counted(2, 'match', 'matches')).toBe('2 matches'));

it.each([
  ['no image.', 'no image'],
  ['no image...', 'no image'],
  ['no image', 'no image'],
  ['version v1.0.0', 'version v1.0.0'],
  ['0/3 nodes are available: 3 Insufficient cpu. ', '0/3 nodes are available: 3 Insufficient cpu'],
  ['', ''],
])('a sentence goes on after %j as %j', (text, clause) => expect(asClause(text)).toBe(clause));
