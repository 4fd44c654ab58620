import { ignoredKeys } from './reserved-keys';

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
