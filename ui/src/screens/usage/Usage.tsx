// What a machine or an instance takes of processors and memory, over the last minutes: asked for while it is looked at, and
// kept in this page alone. As curves, and as a table.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { isMissing } from '../../api/errors';
import { ask } from '../../api/http';
import { Command, Empty, ErrorNotice, Loading, Notice, Panel } from '../../design/parts';
import { bytes, percent } from '../../lib/text';
import { clock } from '../../lib/time';
import { cores, grown, sampleOf, WINDOW_MS, type Metrics, type Sample } from './samples';
import './usage.css';

const Chart = lazy(() => import('./Chart').then((module) => ({ default: module.Chart })));

/** Agents say what is taken as often. */
const EVERY_MS = 15_000;

interface Limits {
  cpu?: number;
  memory?: number;
}

export function Usage({
  path,
  command,
  limits,
  limitName,
}: {
  path: string;
  command: string;
  limits: Limits;
  /** What a limit is to it. */
  limitName: string;
}) {
  const client = useQueryClient();
  const queryKey = ['usage', path];
  const found = useQuery({
    queryKey,
    queryFn: async ({ signal }) => {
      const now = sampleOf(await ask<Metrics>(path, { signal }));
      return grown(client.getQueryData<Sample[]>(queryKey) ?? [], now);
    },
    // Not while nobody sees it.
    refetchInterval: EVERY_MS,
    refetchOnWindowFocus: true,
    gcTime: WINDOW_MS,
    retry: false,
  });
  const [at, setAt] = useState<number>();
  const samples = found.data ?? [];
  const shown = samples[at ?? samples.length - 1] ?? samples[samples.length - 1];
  return (
    <Panel
      title="Usage"
      aside={
        shown && (
          <span className="muted small">
            {at === undefined ? 'at' : 'then, at'} {clock(shown.at)}
          </span>
        )
      }
    >
      {found.isPending && <Loading lines={4} label="Asking what it takes" />}
      {!shown && (found.isSuccess || isMissing(found.error)) && (
        <Empty title="Nothing is known of what it takes." command={command}>
          Its agent tells it every 15 seconds: what has just begun, and a machine whose agent is not
          connected, have none.
        </Empty>
      )}
      {!shown && found.isError && !isMissing(found.error) && (
        <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />
      )}
      {shown && (
        <div className="stack wide-gap">
          {found.isError && (
            <Notice tone="wait">
              Stale: as of {clock(shown.at)}. {found.error.message}
            </Notice>
          )}
          <div className="usage">
            <Curve
              name="Processors"
              samples={samples}
              values={samples.map((each) => each.cpu)}
              now={cores(shown.cpu)}
              value={shown.cpu}
              {...(limits.cpu ? { limit: limits.cpu } : {})}
              limitName={limitName}
              say={cores}
              onPoint={setAt}
            />
            <Curve
              name="Memory"
              samples={samples}
              values={samples.map((each) => each.memory)}
              now={bytes(shown.memory)}
              value={shown.memory}
              {...(limits.memory ? { limit: limits.memory } : {})}
              limitName={limitName}
              say={bytes}
              onPoint={setAt}
            />
          </div>
          <details>
            <summary>The same as a table</summary>
            <Table samples={samples} />
          </details>
          <Command line={command} />
        </div>
      )}
    </Panel>
  );
}

function Curve({
  name,
  samples,
  values,
  now,
  value,
  limit,
  limitName,
  say,
  onPoint,
}: {
  name: string;
  samples: Sample[];
  values: number[];
  now: string;
  value: number;
  limit?: number;
  limitName: string;
  say: (value: number) => string;
  onPoint: (at: number | undefined) => void;
}) {
  return (
    <figure>
      <figcaption className="row">
        <span className="muted">{name}</span>
        <strong>{now}</strong>
        {limit !== undefined && (
          <span className="muted">
            {percent(value, limit)} of {say(limit)} {limitName}
          </span>
        )}
      </figcaption>
      <Suspense fallback={<div className="usage-chart" />}>
        <Chart
          label={`${name}, over the last minutes: now ${now}. The table below has each value.`}
          times={samples.map((each) => each.at)}
          values={values}
          {...(limit === undefined ? {} : { limit })}
          say={say}
          onPoint={onPoint}
        />
      </Suspense>
    </figure>
  );
}

function Table({ samples }: { samples: Sample[] }) {
  return (
    <div className="scroll-x usage-table" tabIndex={0} role="region" aria-label="Usage over time">
      <table className="plain-table">
        <thead>
          <tr>
            <th>Time</th>
            <th className="number">Processors</th>
            <th className="number">Memory</th>
          </tr>
        </thead>
        <tbody>
          {[...samples].reverse().map((each) => (
            <tr key={each.at}>
              <td>{clock(each.at)}</td>
              <td className="number">{cores(each.cpu)}</td>
              <td className="number">{bytes(each.memory)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
