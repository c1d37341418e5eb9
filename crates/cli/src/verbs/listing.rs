//! Lists, of any kind: a row each for people, or the objects as data. Of each object only what is shown is kept, since
//! there may be very many.

use super::Common;
use crate::{
    Error, Outcome,
    output::{list, note},
    plane::{Plane, Selection, Within, seen},
    view::table::table,
};
use quarterdeck_model::Kind;

/// What is listed, and how it is shown.
pub(super) struct Listing<'a, K> {
    pub(super) within: Within<'a>,
    pub(super) selection: Selection,
    /// Those that a selection cannot tell apart.
    pub(super) keep: &'a dyn Fn(&K) -> bool,
    pub(super) heading: Vec<&'a str>,
    pub(super) row: &'a dyn Fn(&K) -> Vec<String>,
}

/// Where a flag for all namespaces says to look.
pub(super) fn within(plane: &Plane, everywhere: bool) -> Within<'_> {
    if everywhere { Within::Everywhere } else { Within::Namespace(&plane.namespace) }
}

/// Prints them.
pub(super) async fn print<K: Kind>(
    plane: &Plane,
    what: Listing<'_, K>,
    common: &Common,
) -> Result<Outcome, Error> {
    let (mut rows, mut objects, mut failed) = (Vec::new(), Vec::new(), None);
    let data = common.output.data();
    let take = |object| match seen::<K>(object) {
        Ok(it) if !(what.keep)(&it.object) => {}
        Ok(it) if data => objects.push(it.raw),
        Ok(it) => rows.push((what.row)(&it.object)),
        Err(error) => failed = failed.take().or(Some(error)),
    };
    plane.each(K::info(), what.within, &what.selection, take).await?;
    if let Some(error) = failed {
        return Err(error);
    }
    if rows.is_empty() && !data {
        let place = match what.within {
            Within::Namespace(name) if K::info().namespaced() => {
                format!(" in namespace {name}; -A shows those of all")
            }
            _ => String::new(),
        };
        note(&format!("there are no such {}{place}", K::PLURAL));
        return Ok(Outcome::Done);
    }
    common.output.print(|| table(&what.heading, &rows), || list(objects))?;
    Ok(Outcome::Done)
}
