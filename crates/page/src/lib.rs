//! The page, as it was built from `ui/`: its files, compressed, in the binary. Nothing is decided here; how they are
//! sent is the API's affair.

/// One file of the page.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Where it is served, such as `/assets/index-1a2b3c.js`.
    pub path: &'static str,
    /// What it is called as long as it is the same (RFC 9110 §8.8.3).
    pub etag: &'static str,
    /// What it is.
    pub plain: &'static [u8],
    /// The same by gzip; none where that gains nothing.
    pub gzip: Option<&'static [u8]>,
}

/// All files, by path. Empty in a binary that was built without the page.
pub const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at a path.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let at = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(at)
}
