// What a new object of a kind begins with: the few fields that everybody sets, to be changed. Pure.
import type { KindInfo } from '../../api/kinds';

const SPECS: Record<string, unknown> = {
  Machine: { class: 'compute-gen4', image: 'debian-12', placement: { site: 'ams1' } },
  Service: {
    owner: 'payments',
    tier: 2,
    contacts: ['#payments-on-call'],
    disruptionBudget: { maxUnavailable: '10%' },
  },
  Freeze: {
    reason: 'Peak season',
    start: '2026-12-20T00:00:00Z',
    end: '2027-01-02T00:00:00Z',
    sites: ['ams1'],
  },
  Schedule: {
    schedule: '0 3 * * 1',
    timeZone: 'Europe/Amsterdam',
    run: { runbook: 'power-cycle-server', target: { kind: 'Server', name: 'ams1-a01-01-u01' } },
  },
  Run: { runbook: 'power-cycle-server', target: { kind: 'Server', name: 'ams1-a01-01-u01' } },
  Server: {
    bmc: { address: '10.0.4.17', credentialsSecretRef: { namespace: 'default', name: 'bmc' } },
    location: { rack: 'ams1-a01-01', unit: 1 },
  },
  Rack: { site: 'ams1', hall: 'a', units: 42 },
  Site: { displayName: 'Amsterdam 1', region: 'eu-west', timeZone: 'Europe/Amsterdam' },
  Runbook: {
    summary: 'Powers a server off and on again.',
    target: { kind: 'Server' },
    steps: [{ name: 'cycle', call: 'power-cycle-server' }],
  },
};

export function template(info: KindInfo, namespace: string): Record<string, unknown> {
  return {
    apiVersion: info.apiVersion,
    kind: info.kind,
    metadata: { name: `new-${info.singular}`, ...(info.namespaced ? { namespace } : {}) },
    ...(info.kind === 'Namespace' ? {} : { spec: SPECS[info.kind] ?? {} }),
  };
}
