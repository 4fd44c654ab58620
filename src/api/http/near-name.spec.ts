import { nearName } from './near-name';

const known = ['deadlineSeconds', 'durationSeconds', 'min', 'buffer', 'url', 'cron'];

describe('nearName', () => {
  it.each([
    ['a letter is missing', 'deadlineSecond', 'deadlineSeconds'],
    ['a letter is too many', 'deadlineSecondss', 'deadlineSeconds'],
    ['a letter is wrong', 'uri', 'url'],
    ['two letters are wrong', 'daedlineSeconds', 'deadlineSeconds'],
    ['two letters of a short name are swapped', 'corn', 'cron'],
    ['it is in snake_case', 'deadline_second', 'deadlineSeconds'],
    ['it has other capitals', 'DeadlineSECONDS', 'deadlineSeconds'],
    ['it has hyphens', 'duration-seconds', 'durationSeconds'],
  ])('finds what was meant where %s', (_case, name, meant) => {
    expect(nearName(name, known)).toBe(meant);
  });

  it.each([
    ['three letters are wrong', 'deadlineSecXXX'],
    ['most of a short name is wrong', 'max'],
    ['nothing is like it', 'timeout'],
    ['it is empty', ''],
    ['it is very long', 'deadlineSeconds'.repeat(100_000)],
    ['it is a word of JavaScript', '__proto__'],
  ])('finds nothing where %s', (_case, name) => {
    expect(nearName(name, known)).toBeUndefined();
  });

  it('finds the nearest, and of two that are equally near the first', () => {
    expect(nearName('abcdeX', ['abcdXY', 'abcdef'])).toBe('abcdef');
    expect(nearName('abcX', ['abcY', 'abcZ'])).toBe('abcY');
  });
});
