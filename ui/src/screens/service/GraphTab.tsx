// What is around an object, both ways: drawn for the eye, and as a list for everybody.
import { useEffect, useMemo, useRef, useState } from 'react';
import { ObjectGraphDocument, type ObjectGraphQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import type { KindInfo } from '../../api/kinds';
import { useLiveQuery } from '../../api/live';
import { Glyph, Status, toneOf } from '../../design/glyphs';
import { Empty, ErrorNotice, Loading, Notice, Panel } from '../../design/parts';
import { ObjectLink, useOpen } from '../../shell/links';
import { layout, NODE } from './layout';

type Graph = NonNullable<ObjectGraphQuery['object']>['graph'];

/** A graph is a map: it is not looked at oftener than this. */
const EVERY_MS = 5000;

export function GraphTab({
  info,
  namespace,
  name,
}: {
  info: KindInfo;
  namespace: string | null;
  name: string;
}) {
  const [hops, setHops] = useState(info.kind === 'Server' || info.kind === 'Service' ? 2 : 1);
  const found = useLiveQuery(
    {
      queryKey: ['graph', info.kind, namespace, name, hops],
      queryFn: ({ signal }) =>
        query(ObjectGraphDocument, { kind: info.kind, namespace, name, hops, relations: null }, signal),
    },
    [{ kind: info.kind, namespace, name }],
    EVERY_MS,
  );
  const graph = found.data?.object?.graph;
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  return (
    <div className="stack wide-gap">
      <div className="row">
        <label className="row">
          Hops
          <select className="select" value={hops} onChange={(event) => setHops(Number(event.target.value))}>
            {[1, 2, 3, 4].map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        {graph && (
          <span className="faint">
            {graph.nodes.length} objects, {graph.edges.length} links
          </span>
        )}
      </div>
      {graph?.truncated && (
        <Notice tone="idle">
          More is around it than can be drawn: a number on a node says how many more it is linked with.
        </Notice>
      )}
      {!graph ? <Loading lines={8} label="Reading what is around it" /> : <GraphView graph={graph} />}
    </div>
  );
}

export function GraphView({ graph }: { graph: Graph }) {
  const { places, width, height } = useMemo(() => layout(graph.nodes, graph.edges), [graph]);
  const box = useRef<HTMLDivElement>(null);
  const middle = graph.nodes.find((node) => node.distance === 0)?.id;
  const at = middle === undefined ? undefined : places.get(middle);
  useEffect(() => {
    const element = box.current;
    if (!element || !at) return;
    element.scrollTo(
      at.x + NODE.width / 2 - element.clientWidth / 2,
      at.y + NODE.height - element.clientHeight / 2,
    );
    // Only when another graph is drawn: whoever has scrolled stays there.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [middle, at?.x, at?.y]);
  if (graph.nodes.length <= 1) return <Empty title="It is linked with nothing." />;
  return (
    <>
      <div
        ref={box}
        className="graph-box"
        tabIndex={0}
        role="region"
        aria-label="Graph; the list below says the same"
      >
        <svg
          className="graph"
          width={width + 16}
          height={height + 16}
          viewBox={`-8 -8 ${width + 16} ${height + 16}`}
          aria-hidden="true"
        >
          {graph.edges.map((edge) => {
            const from = places.get(edge.from);
            const to = places.get(edge.to);
            if (!from || !to) return null;
            const forward = from.x <= to.x;
            const x1 = from.x + (forward ? NODE.width : 0);
            const x2 = to.x + (forward ? 0 : NODE.width);
            const y1 = from.y + NODE.height / 2;
            const y2 = to.y + NODE.height / 2;
            const bend = from.x === to.x ? NODE.gapX : (x2 - x1) / 2;
            return (
              <path
                key={`${edge.from} ${edge.to} ${edge.relation}`}
                d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`}
                className="edge"
              >
                <title>{edge.relation}</title>
              </path>
            );
          })}
          {graph.nodes.map((node) => {
            const place = places.get(node.id);
            return place && <NodeBox key={node.id} node={node} x={place.x} y={place.y} />;
          })}
        </svg>
      </div>
      <Panel title="The same as a list" count={graph.nodes.length} flush>
        <table className="plain-table">
          <thead>
            <tr>
              <th>Kind</th>
              <th>Name</th>
              <th>Phase</th>
              <th>Owner</th>
              <th className="number">Hops</th>
              <th className="number">Further links</th>
            </tr>
          </thead>
          <tbody>
            {graph.nodes.slice(0, 100).map((node) => (
              <tr key={node.id}>
                <td className="muted">{node.kind}</td>
                <td>{node.missing ? <s>{node.name}</s> : <ObjectLink target={node} full />}</td>
                <td>{node.missing ? 'not there' : <Status phase={node.phase} kind={node.kind} />}</td>
                <td>{node.owner}</td>
                <td className="number">{node.distance}</td>
                <td className="number">{node.hidden || ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Panel>
    </>
  );
}

function NodeBox({ node, x, y }: { node: Graph['nodes'][number]; x: number; y: number }) {
  const open = useOpen();
  const classes = ['node', node.distance === 0 && 'middle', node.missing && 'missing']
    .filter(Boolean)
    .join(' ');
  return (
    <g transform={`translate(${x} ${y})`} className={classes} onClick={() => open(node)}>
      <title>{`${node.kind} ${node.namespace ? `${node.namespace}/` : ''}${node.name}: ${node.missing ? 'not there' : (node.phase ?? 'no phase')}`}</title>
      <rect width={NODE.width} height={NODE.height} rx="5" />
      <svg x="9" y="10" width="14" height="14" className={`tone-${toneOf(node.phase, node.kind)}`}>
        <Glyph tone={node.missing ? 'fail' : toneOf(node.phase, node.kind)} />
      </svg>
      <text x="30" y="14" className="node-name">
        {node.name.length > 22 ? `${node.name.slice(0, 21)}…` : node.name}
      </text>
      <text x="30" y="27" className="node-kind">
        {node.kind}
        {node.owner ? ` · ${node.owner}` : ''}
      </text>
      {node.hidden > 0 && (
        <text x={NODE.width - 8} y="27" className="node-kind" textAnchor="end">
          +{node.hidden}
        </text>
      )}
    </g>
  );
}
