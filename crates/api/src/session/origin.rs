//! Whether a request comes from the page, or from another site that has a browser send it. Pure.
//!
//! Two rules: what a browser sends of its own accord (a cookie) counts only with a header that other sites cannot have
//! it send without being asked first, which is never allowed (Fetch, "CORS-preflight fetch"); and no write is taken
//! that says it comes from another origin, whatever it shows, since a browser adds client certificates by itself too.
//! A WebSocket is begun with a GET and asks no one first, but what is said on it is as good as a write.
//! Source: OWASP "Cross-Site Request Forgery Prevention", custom request headers and Origin.

use http::{HeaderMap, HeaderName, Method, Uri, header};

/// The header that a session counts by. What it says does not matter.
pub(crate) const CSRF_HEADER: &str = "x-quarterdeck-csrf";
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether it is a write that a browser sends for another site.
pub(crate) fn from_elsewhere(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let upgrades = [header::UPGRADE, header::SEC_WEBSOCKET_KEY];
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !upgrades.iter().any(|name| headers.contains_key(name));
    if only_reads {
        return false;
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Same-site is not enough: another host of the company's is another site to the page.
    if text(SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = uri.authority().map(|it| it.as_str()).or_else(|| text(header::HOST));
    origin.strip_prefix("https://") != host || host.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_other_sites_are_known() {
        let elsewhere = |method: Method, uri: &str, pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            from_elsewhere(&method, &uri.parse().unwrap(), &headers)
        };
        let host = ("host", "plane:6443");
        for (expected, pairs) in [
            (false, &[host][..]),
            (false, &[host, ("origin", "https://plane:6443"), ("sec-fetch-site", "same-origin")]),
            (true, &[host, ("origin", "https://plane")]),
            (true, &[host, ("origin", "http://plane:6443")]),
            (true, &[host, ("origin", "https://evil.example")]),
            (true, &[host, ("origin", "null")]),
            (true, &[host, ("sec-fetch-site", "same-site")]),
            (true, &[host, ("sec-fetch-site", "cross-site")]),
            (true, &[("origin", "https://plane:6443")]),
        ] {
            assert_eq!(elsewhere(Method::POST, "/session", pairs), expected, "{pairs:?}");
            assert!(!elsewhere(Method::GET, "/session", pairs), "{pairs:?}");
            for upgrade in [("upgrade", "websocket"), ("sec-websocket-key", "AQIDBA==")] {
                let pairs = [pairs, &[upgrade]].concat();
                assert_eq!(elsewhere(Method::GET, "/exec", &pairs), expected, "{pairs:?}");
            }
        }
        // HTTP/2 has the host in its address.
        let own = [("origin", "https://plane:6443")];
        assert!(!elsewhere(Method::DELETE, "https://plane:6443/session", &own));
    }
}
