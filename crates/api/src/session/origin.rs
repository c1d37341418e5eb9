//! Whether a request comes from the page, or from another site that has a browser send it. Pure.
//!
//! Two rules: what a browser sends of its own accord (a cookie) counts only with a header that other sites cannot have
//! it send without being asked first, which is never allowed (Fetch, "CORS-preflight fetch"); and no write is taken
//! that says it comes from another origin, whatever it shows, since a browser adds client certificates by itself too.
//! A WebSocket is begun with a GET and asks no one first, but what is said on it is as good as a write. No script can add
//! a header to it, so there a cookie counts by the Origin, which a browser always sends with it and no script can choose
//! (RFC 6455 §10.2): it must be there, and be this plane's own.
//! Source: OWASP "Cross-Site Request Forgery Prevention", custom request headers and Origin; "Cross-Site WebSocket
//! Hijacking".

use http::{HeaderMap, HeaderName, Method, Uri, header};

/// The header that a session counts by. What it says does not matter.
pub(crate) const CSRF_HEADER: &str = "x-quarterdeck-csrf";
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a request has that begins a WebSocket.
const UPGRADES: [HeaderName; 2] = [header::UPGRADE, header::SEC_WEBSOCKET_KEY];

/// Whether it is a write that a browser sends for another site.
pub(crate) fn from_elsewhere(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !UPGRADES.iter().any(|name| headers.contains_key(name));
    if only_reads {
        return false;
    }
    // Same-site is not enough: another host of the company's is another site to the page.
    if text(headers, &SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    headers.contains_key(header::ORIGIN) && !has_own_origin(uri, headers)
}

/// Whether what a browser adds by itself counts: the page's own script had it sent, and nobody else can have.
pub(crate) fn from_own_page(uri: &Uri, headers: &HeaderMap) -> bool {
    let socket = UPGRADES.iter().all(|name| headers.contains_key(name));
    headers.contains_key(CSRF_HEADER) || socket && has_own_origin(uri, headers)
}

/// Whether it says that it comes from a page of this plane.
fn has_own_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = uri.authority().map(|it| it.as_str()).or_else(|| text(headers, &header::HOST));
    let origin = text(headers, &header::ORIGIN).and_then(|it| it.strip_prefix("https://"));
    host.is_some() && origin == host
}

/// What a header says; nothing that could be meant, when it is no text or is there twice.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => Some(value.to_str().unwrap_or("?")),
        (Some(_), Some(_)) => Some("?"),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_counts_with_the_header_or_for_a_websocket_of_the_own_page() {
        let counts =
            |pairs: &[(&str, &str)]| from_own_page(&Uri::from_static("/exec"), &headers(pairs));
        let host = ("host", "plane:6443");
        let socket = [host, ("upgrade", "websocket"), ("sec-websocket-key", "AQIDBA==")];
        let own = ("origin", "https://plane:6443");
        assert!(counts(&[host, (CSRF_HEADER, "1")]));
        assert!(counts(&[&socket[..], &[own]].concat()));
        for wrong in [
            &[host, own][..],
            &[host, own, ("upgrade", "websocket")],
            &[host, own, ("sec-websocket-key", "AQIDBA==")],
            &socket,
            &[&socket[..], &[("origin", "https://evil.example")]].concat(),
            &[&socket[..], &[("origin", "http://plane:6443")]].concat(),
            &[&socket[..], &[("origin", "https://plane:6443.evil.example")]].concat(),
            &[&socket[..], &[("origin", "null")]].concat(),
            &[&socket[..], &[own, ("origin", "https://evil.example")]].concat(),
            &[&socket[1..], &[own]].concat(),
        ] {
            assert!(!counts(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn writes_of_other_sites_are_known() {
        let elsewhere = |method: Method, uri: &str, pairs: &[(&str, &str)]| {
            from_elsewhere(&method, &uri.parse().unwrap(), &headers(pairs))
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
