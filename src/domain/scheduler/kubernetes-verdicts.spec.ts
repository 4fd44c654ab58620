import { kubernetesVerdicts, namespaceVerdicts } from './kubernetes-verdicts.fixture';
import { aDefinition } from './scheduler.fixture';
import { validateNewScheduler, validateScheduler, whyNeverRuns } from './validate-scheduler';

describe('what Kubernetes takes', () => {
  const accepted = kubernetesVerdicts.filter(({ problems }) => problems.length === 0);
  const refused = kubernetesVerdicts.filter(({ problems }) => problems.length > 0);

  test.each(accepted)('accepts $what', ({ changes }) => {
    expect(validateNewScheduler('fleet', aDefinition(changes))).toEqual([]);
  });

  test.each(refused)('refuses $what', ({ changes, problems }) => {
    const definition = aDefinition(changes);
    expect(validateScheduler('fleet', definition)).toEqual(problems);
    expect(whyNeverRuns('fleet', definition)).toEqual(problems);
  });

  test.each(namespaceVerdicts)('a new scheduler $name: $problems.length problems', ({ name, problems }) => {
    expect(validateNewScheduler(name, aDefinition())).toEqual(problems);
  });

  test('leaves schedulers alone whose name would no longer be given', () => {
    expect(validateScheduler('default', aDefinition())).toEqual([]);
    expect(whyNeverRuns('default', aDefinition())).toEqual([]);
  });

  test('says of what only we refuse that it may run', () => {
    const odd = aDefinition({ game: '', maxSurge: '0%', roomsReplicas: -1, forwarders: [], portRange: undefined });
    expect(validateScheduler('fleet', odd)).toHaveLength(4);
    expect(whyNeverRuns('fleet', odd)).toEqual([]);
  });
});
