// Rows that do not move while somebody looks: a page keeps the order in which it was first shown, and takes new values
// into it, until it is asked to begin anew. Says how much would change. No effects.

export interface HasUid {
  uid: string;
}

interface Page<Row> {
  rows: Row[];
  latest: Row[];
  moved: number;
}

export class Frozen<Row extends HasUid> {
  private pages = new Map<number, Page<Row>>();

  /** What is known of a page now. The same rows again change nothing. */
  take(page: number, latest: Row[]): void {
    const old = this.pages.get(page);
    if (old?.latest === latest) return;
    if (!old) {
      this.pages.set(page, { rows: latest, latest, moved: 0 });
      return;
    }
    const known = new Map(latest.map((row) => [row.uid, row]));
    const moved = latest.filter((row, index) => old.rows[index]?.uid !== row.uid).length;
    const gone = old.rows.filter((row) => !known.has(row.uid)).length;
    const rows = moved === 0 && gone === 0 ? latest : old.rows.map((row) => known.get(row.uid) ?? row);
    this.pages.set(page, { rows, latest, moved: Math.max(moved, gone) });
  }

  row(index: number, size: number): Row | undefined {
    return this.pages.get(Math.floor(index / size))?.rows[index % size];
  }

  /** Rows that stand elsewhere now, or are new or gone. */
  pending(): number {
    let sum = 0;
    for (const page of this.pages.values()) sum += page.moved;
    return sum;
  }

  /** Shows all as it is now. */
  thaw(): void {
    for (const [page, { latest }] of this.pages) this.pages.set(page, { rows: latest, latest, moved: 0 });
  }

  forget(): void {
    this.pages = new Map();
  }
}
