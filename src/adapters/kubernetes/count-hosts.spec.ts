import { countHosts } from './count-hosts';
import type { Node } from './kubernetes-objects';

type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];

const plain: Node = { metadata: { name: 'plain' } };
const labelled = (value: string): Node => ({ metadata: { labels: { games: value } } });
const tainted = (...taints: Taint[]): Node => ({ ...labelled('true'), spec: { taints } });
const dedicated = (value: string, effect = 'NoSchedule'): Taint => ({ key: 'dedicated', value, effect });
const anywhere = { affinity: '', toleration: '' };

describe('countHosts', () => {
  it.each<[string, Node[], { affinity: string; toleration: string }, number]>([
    ['every node', [plain, plain, plain], anywhere, 3],
    ['1 where there is none', [], anywhere, 1],
    ['1 where none may run it', [labelled('false')], { affinity: 'games', toleration: '' }, 1],
    ['no node that is cordoned', [plain, plain, { spec: { unschedulable: true } }], anywhere, 2],
    [
      'those with the label of the affinity',
      [plain, labelled('true'), labelled('true'), labelled('yes')],
      { affinity: 'games', toleration: '' },
      2,
    ],
    ['no node whose taint is not tolerated', [plain, plain, tainted(dedicated('arena'))], anywhere, 2],
    [
      'those whose taint is tolerated',
      [plain, tainted(dedicated('arena')), tainted(dedicated('other'))],
      { affinity: '', toleration: 'arena' },
      2,
    ],
    [
      'none with a second taint',
      [plain, plain, tainted(dedicated('arena'), { key: 'gpu', effect: 'NoSchedule' })],
      { affinity: '', toleration: 'arena' },
      2,
    ],
    [
      'those whose taint has another key',
      [tainted({ key: 'other', value: 'arena', effect: 'NoSchedule' }), plain, plain],
      { affinity: '', toleration: 'arena' },
      2,
    ],
    [
      'none that would end it: pods tolerate `NoSchedule` only',
      [plain, plain, tainted(dedicated('arena', 'NoExecute'))],
      { affinity: '', toleration: 'arena' },
      2,
    ],
    ['those that are only unwelcome', [plain, tainted(dedicated('arena', 'PreferNoSchedule'))], anywhere, 2],
    [
      'those that are not ready',
      [
        plain,
        tainted(
          { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' },
          { key: 'node.kubernetes.io/not-ready', effect: 'NoExecute' },
        ),
      ],
      anywhere,
      2,
    ],
    [
      'those with a taint without value',
      [plain, plain, tainted({ key: 'dedicated', effect: 'NoSchedule' })],
      anywhere,
      2,
    ],
    [
      'those with both label and tolerated taint',
      [tainted(dedicated('arena')), labelled('true'), { spec: { taints: [dedicated('arena')] } }],
      { affinity: 'games', toleration: 'arena' },
      2,
    ],
  ])('counts %s', (_what, nodes, placement, expected) => {
    expect(countHosts(nodes, placement)).toBe(expected);
  });
});
