//! Reading the members of a collection: with one request where the BMC can expand, page by page
//! and member by member where it cannot, and never more than asked for.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::bounded::Budget;
use super::client::Bmc;
use super::limits::{CONCURRENT_PER_BMC, PAGES_MAX};
use super::quirks::Quirks;
use super::resource::{Path, Resource};
use crate::action::{ActionError, Reason};

/// A member as the collection shows it.
enum Member {
    Link(Path),
    Whole(Resource),
}

impl Bmc {
    /// Links to at most `limit` members.
    pub(super) async fn member_links(
        &self,
        collection: &Path,
        limit: usize,
        budget: &Budget,
    ) -> Result<Vec<Path>, ActionError> {
        let mut links = Vec::new();
        let mut page = Some(collection.clone());
        for _page in 0..PAGES_MAX {
            let Some(path) = page else { break };
            let resource = self.get(&path, budget).await?;
            links.extend(resource.doc().links("/Members").into_iter().take(limit - links.len()));
            page = next_page(&resource).filter(|_next| links.len() < limit);
        }
        Ok(links)
    }

    /// At most `limit` members, in the collection's order. Members that are gone when they are
    /// read are left out.
    pub(super) async fn members(
        &self,
        collection: &Path,
        limit: usize,
        quirks: &Quirks,
        budget: &Budget,
    ) -> Result<Vec<Resource>, ActionError> {
        let mut found: Vec<Member> = Vec::new();
        let mut page = Some(match self.expand_query(quirks, budget).await? {
            Some(query) => collection.with_query(query),
            None => collection.clone(),
        });
        for _page in 0..PAGES_MAX {
            let Some(path) = page else { break };
            let resource = match self.get(&path, budget).await {
                // A BMC that says it can expand and then cannot is asked plainly.
                Err(error) if path != *collection && found.is_empty() && is_answer(&error) => {
                    self.get(collection, budget).await?
                }
                other => other?,
            };
            let room = limit - found.len();
            found.extend(resource.doc().list("/Members").filter_map(as_member).take(room));
            page = next_page(&resource).filter(|_next| found.len() < limit);
        }
        let mut reads = stream::iter(found)
            .map(|member| async {
                match member {
                    Member::Whole(resource) => Ok(Some(resource)),
                    Member::Link(path) => self.get_optional(&path, budget).await,
                }
            })
            .buffered(CONCURRENT_PER_BMC);
        let mut members = Vec::new();
        while let Some(read) = reads.next().await {
            members.extend(read?);
        }
        Ok(members)
    }

    /// A resource that may not be there.
    pub(super) async fn get_optional(
        &self,
        path: &Path,
        budget: &Budget,
    ) -> Result<Option<Resource>, ActionError> {
        match self.get(path, budget).await {
            Ok(resource) => Ok(Some(resource)),
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotSupported) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The query that expands a collection by one level (DSP0266 §7.3.1), if the BMC has it.
    pub(super) async fn expand_query(
        &self,
        quirks: &Quirks,
        budget: &Budget,
    ) -> Result<Option<&'static str>, ActionError> {
        let root = self.root(budget).await?.doc();
        let can = |what: &str| {
            let pointer = format!("/ProtocolFeaturesSupported/ExpandQuery/{what}");
            root.flag(&pointer) == Some(true)
        };
        Ok((quirks.expand && can("NoLinks"))
            .then(|| if can("Levels") { "$expand=.($levels=1)" } else { "$expand=." }))
    }
}

fn as_member(member: super::resource::Doc<'_>) -> Option<Member> {
    let path = member.link("")?;
    // A bare link has only annotations; anything with an Id is the resource itself.
    let whole = member.0.get("Id").is_some();
    Some(if whole {
        Member::Whole(Resource { path, etag: member.text("/@odata.etag"), json: member.0.clone() })
    } else {
        Member::Link(path)
    })
}

fn next_page(resource: &Resource) -> Option<Path> {
    let doc = resource.doc();
    let text = doc.text("/Members@odata.nextLink").or_else(|| doc.text("/@odata.nextLink"))?;
    Path::parse(&text).filter(|next| *next != resource.path)
}

fn is_answer(error: &ActionError) -> bool {
    matches!(error.reason, Reason::BmcError | Reason::NotSupported | Reason::NotFound)
}
