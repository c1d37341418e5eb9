// What there is, counted, and chosen by it.
import { useState } from 'react';
import type { SearchQuery } from '../../api/generated/graphql';
import { Glyph, toneOf } from '../../design/glyphs';
import { fieldName, number } from '../../lib/text';

type Facet = SearchQuery['search']['facets'][number];

const FIRST = 8;

export function Facets({
  facets,
  chosen,
  kind,
  onToggle,
}: {
  facets: Facet[];
  chosen: Record<string, string[]>;
  kind: string;
  onToggle: (field: string, value: string) => void;
}) {
  return (
    <aside className="facets" aria-label="Filters">
      {facets
        .filter((facet) => facet.values.some((value) => value.value !== '') || chosen[facet.field])
        .map((facet) => (
          <FacetList
            key={facet.field}
            facet={facet}
            kind={kind}
            chosen={chosen[facet.field] ?? []}
            onToggle={(value) => onToggle(facet.field, value)}
          />
        ))}
    </aside>
  );
}

function FacetList({
  facet,
  chosen,
  kind,
  onToggle,
}: {
  facet: Facet;
  chosen: string[];
  kind: string;
  onToggle: (value: string) => void;
}) {
  const [all, setAll] = useState(false);
  const missing = chosen.filter((value) => !facet.values.some((each) => each.value === value));
  const values = [...missing.map((value) => ({ value, count: 0 })), ...facet.values];
  const shown = all ? values : values.slice(0, FIRST);
  const isPhase = facet.field.endsWith('.phase');
  return (
    <fieldset>
      <legend title={facet.field}>{fieldName(facet.field)}</legend>
      {shown.map(({ value, count }) => (
        <label key={value} className="facet-value">
          <input type="checkbox" checked={chosen.includes(value)} onChange={() => onToggle(value)} />
          {isPhase && <Glyph tone={toneOf(value, kind)} />}
          <span className="cut grow" title={value}>
            {value === '' ? <i className="faint">none</i> : value}
          </span>
          <span className="faint">{number(count)}</span>
        </label>
      ))}
      {(values.length > FIRST || facet.other > 0) && (
        <button type="button" className="facet-more" onClick={() => setAll(!all)}>
          {all
            ? facet.other > 0
              ? `Fewer (${number(facet.other)} have other values: search for them)`
              : 'Fewer'
            : `${number(values.length - FIRST)} more`}
        </button>
      )}
    </fieldset>
  );
}
