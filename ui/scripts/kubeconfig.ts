// Reads from a kubeconfig how to reach a plane: its current context, with the certificates in it.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Connection {
  server: string;
  ca: string;
  cert: string;
  key: string;
}

interface Named {
  name: string;
}
interface Kubeconfig {
  'current-context': string;
  contexts: (Named & { context: { cluster: string; user: string } })[];
  clusters: (Named & { cluster: { server: string; 'certificate-authority-data': string } })[];
  users: (Named & { user: { 'client-certificate-data': string; 'client-key-data': string } })[];
}

export function kubeconfig(file: string): Connection {
  const config = parse(readFileSync(file, 'utf8')) as Kubeconfig;
  const find = <T extends Named>(list: T[], name: string | undefined): T => {
    const found = list.find((item) => item.name === name);
    if (!found) throw new Error(`${file} has no ${name ?? 'current context'}`);
    return found;
  };
  const { context } = find(config.contexts, config['current-context']);
  const { cluster } = find(config.clusters, context.cluster);
  const { user } = find(config.users, context.user);
  const decoded = (text: string) => Buffer.from(text, 'base64').toString('utf8');
  return {
    server: cluster.server,
    ca: decoded(cluster['certificate-authority-data']),
    cert: decoded(user['client-certificate-data']),
    key: decoded(user['client-key-data']),
  };
}
