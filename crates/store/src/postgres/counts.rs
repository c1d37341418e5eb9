//! How many bodies there are of a kind in a namespace, for those that somebody limits: counted once,
//! then followed by the log, in which all writers are. Each is counted at the head that it is noted for, and
//! a batch that was decided on it moves that head or fails: so it is exact. Then a batch takes one more round
//! trip. A group that nobody limits costs nothing.

use super::{commit::overtaken, connection::Writer, failure, signed, unsigned};
use crate::{StoreError, decide::Group};
use quarterdeck_model::Revision;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Entries of the log that are read to follow; from more, counting anew is no slower.
const ENTRIES_MAX: u64 = 20_000;

/// By how much the log changed what there is.
pub(super) const CHANGED: &str = "
    SELECT kind, namespace, sum(CASE WHEN body IS NULL THEN -1 ELSE 1 END)::bigint
    FROM quarterdeck.log
    WHERE revision > $1 AND revision <= $2 AND (previous IS NULL) = (body IS NOT NULL)
    GROUP BY kind, namespace";
pub(super) const COMPACTED: &str = "SELECT revision FROM quarterdeck.horizon";
/// What the table of latest revisions shows, and by how much the log changed it since.
pub(super) const COUNT: &str = "
    SELECT (SELECT revision FROM quarterdeck.head),
        (SELECT count(*) FROM quarterdeck.latest WHERE kind = $1 AND namespace = $2)
        + (SELECT coalesce(sum(CASE WHEN body IS NULL THEN -1 ELSE 1 END), 0)::bigint
           FROM quarterdeck.folded JOIN quarterdeck.log ON log.revision > folded.revision
           WHERE (previous IS NULL) = (body IS NOT NULL) AND kind = $1 AND namespace = $2)";

/// Counts by kind and namespace, as of a revision; good for the connection that they were read on.
#[derive(Debug, Default)]
pub(super) struct Counts {
    groups: HashMap<Arc<str>, HashMap<Arc<str>, u64>>,
    at: Revision,
}

impl Counts {
    /// How many there are in each of `wanted` at `head`, the newest revision.
    pub(super) async fn of<'g>(
        &mut self,
        writer: &Writer,
        head: Revision,
        wanted: &BTreeSet<Group<'g>>,
    ) -> Result<HashMap<Group<'g>, u64>, StoreError> {
        let mut counts = HashMap::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(counts);
        }
        self.follow(writer, head).await.map_err(failure)?;
        for group in wanted {
            let Group { kind, namespace } = *group;
            let known = self.groups.get(kind).and_then(|groups| groups.get(namespace)).copied();
            let count = match known {
                Some(known) => known,
                None => {
                    let (at, counted) = count(writer, group).await.map_err(failure)?;
                    if at != head {
                        return Err(overtaken());
                    }
                    let groups = self.groups.entry(kind.into()).or_default();
                    groups.insert(namespace.into(), counted);
                    counted
                }
            };
            counts.insert(*group, count);
        }
        Ok(counts)
    }

    /// Brings what was counted before to `head`; forgets it when the log does not tell.
    async fn follow(
        &mut self,
        writer: &Writer,
        head: Revision,
    ) -> Result<(), tokio_postgres::Error> {
        let since = std::mem::replace(&mut self.at, head);
        let mut groups = std::mem::take(&mut self.groups);
        if groups.is_empty() || head < since || head.0 - since.0 > ENTRIES_MAX {
            return Ok(());
        }
        let (first, last) = (signed(since.0), signed(head.0));
        let range: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&first, &last];
        // In this order: what is compacted after the first answer is not missing from it.
        let (changed, compacted) = tokio::join!(
            biased;
            writer.client.query(&writer.changed, &range),
            writer.client.query_one(&writer.compacted, &[]),
        );
        let (changed, compacted) = (changed?, unsigned(compacted?.try_get(0)?));
        if compacted > since.0 {
            return Ok(());
        }
        for row in changed {
            let (kind, namespace): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let by: i64 = row.try_get(2)?;
            if let Some(count) = groups.get_mut(kind).and_then(|groups| groups.get_mut(namespace)) {
                *count = count.saturating_add_signed(by);
            }
        }
        self.groups = groups;
        Ok(())
    }
}

/// Counts anew; answers the head as it was at the same moment, too.
async fn count(
    writer: &Writer,
    Group { kind, namespace }: &Group<'_>,
) -> Result<(Revision, u64), tokio_postgres::Error> {
    let row = writer.client.query_one(&writer.count, &[kind, namespace]).await?;
    Ok((Revision(unsigned(row.try_get(0)?)), unsigned(row.try_get(1)?)))
}
