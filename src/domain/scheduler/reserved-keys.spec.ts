import { ignoredKeys, ignoredKeysRemarks } from './reserved-keys';

describe('ignoredKeys', () => {
  it.each([
    ['nothing', {}, {}, []],
    ["the user's own keys pass", { team: 'blue' }, { 'example.com/team': 'blue' }, []],
    ['the labels that find rooms', { heritage: 'x', 'maestro-scheduler': 'x', version: 'x' }, {}, 3],
    ['everything under maestro.io', { 'maestro.io/installation': 'x' }, { 'maestro.io/owner': 'x' }, 2],
    ['a permission to evict', {}, { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true' }, 1],
    ['a prohibition to evict passes', {}, { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false' }, []],
    ['the words of labels are free in annotations', {}, { version: 'x' }, []],
  ])('%s', (_what, labels, annotations, expected) => {
    const ignored = ignoredKeys({ labels, annotations });
    if (typeof expected === 'number') expect(ignored).toEqual([...Object.keys(labels), ...Object.keys(annotations)]);
    else expect(ignored).toEqual(expected);
  });
});

describe('ignoredKeysRemarks', () => {
  it('names what rooms do not get', () => {
    const annotations = { 'maestro.io/owner': 'x', 'example.com/team': 'blue' };
    expect(ignoredKeysRemarks({ labels: { version: 'x', team: 'blue' }, annotations })).toEqual([
      'stored, but rooms do not get them, because Maestro finds and protects its rooms by them: "version", "maestro.io/owner"',
    ]);
  });

  it('says nothing of a definition whose rooms get everything', () => {
    expect(ignoredKeysRemarks({ labels: { team: 'blue' }, annotations: {} })).toEqual([]);
  });
});
