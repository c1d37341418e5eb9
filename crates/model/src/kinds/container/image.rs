//! Names of images, as the Distribution project writes them: `[host[:port]/]path[:tag][@sha256:digits]`.
//! Source: github.com/distribution/reference, grammar; Docker's rules for what is left out.

/// Where images are that name no registry.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest tag.
const TAG_BYTES_MAX: usize = 128;
/// Longest path with its registry.
const NAME_BYTES_MAX: usize = 255;

/// The parts of an image's name, with nothing left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Host of the registry, with its port if it has one.
    pub registry: String,
    /// Path of the repository there.
    pub repository: String,
    /// Tag; `latest` when neither it nor a digest is written.
    pub tag: String,
    /// `sha256:` and 64 hex digits. With it the tag says nothing.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let digits = digest.strip_prefix("sha256:").unwrap_or_default();
            let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
            if digits.len() != 64 || !digits.bytes().all(hex) {
                return Err("a digest must be sha256: and 64 lower case hex digits");
            }
        }
        // What stands before the first slash is a host if it looks like one.
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        if !is_host(registry) {
            return Err("its registry must be a host name or an address, with or without a port");
        }
        if !path.split('/').all(is_component) || registry.len() + path.len() > NAME_BYTES_MAX {
            return Err(
                "its path must be of lower case letters, digits and single '.', '_' or '-' between \
                 them, with '/' between its parts, such as shop/api",
            );
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(
                "a tag must be letters, digits, '_', '.' and '-', at most 128, and may not begin with \
                 '.' or '-'",
            );
        }
        let library = registry == DEFAULT_REGISTRY && !path.contains('/');
        Ok(Self {
            registry: registry.into(),
            repository: if library { format!("library/{path}") } else { path.into() },
            tag: tag.unwrap_or("latest").into(),
            digest: digest.map(Into::into),
        })
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .split('.')
            .all(|part| is_edged(part, |it| it.is_ascii_alphanumeric(), |it| it == b'-')),
    };
    good && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_component(part: &str) -> bool {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let doubled = part.contains("..") || part.contains("._") || part.contains("_.");
    is_edged(part, plain, |it| matches!(it, b'.' | b'_' | b'-'))
        && !doubled
        && !part.contains("___")
}

fn is_tag(tag: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(plain)
        && tag.bytes().all(|it| plain(it) || matches!(it, b'.' | b'-'))
}

/// Not empty, with nothing but plain letters at both ends.
fn is_edged(text: &str, plain: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|it| plain(*it))
        && bytes.last().is_some_and(|it| plain(*it))
        && bytes.iter().all(|it| plain(*it) || inner(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("127.0.0.1:5000/team/api:v1@{digest}");
        for (text, registry, repository, tag) in [
            ("busybox", "docker.io", "library/busybox", "latest"),
            ("shop/api:1.4", "docker.io", "shop/api", "1.4"),
            ("localhost/api", "localhost", "api", "latest"),
            ("registry.example.com:5000/a/b/c:x", "registry.example.com:5000", "a/b/c", "x"),
            ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
            (&pinned, "127.0.0.1:5000", "team/api", "v1"),
        ] {
            let read = ImageReference::parse(text).unwrap();
            assert_eq!(
                (&*read.registry, &*read.repository, &*read.tag),
                (registry, repository, tag)
            );
        }
        assert_eq!(ImageReference::parse(&pinned).unwrap().digest, Some(digest));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "A",
            "a:",
            "a:.b",
            "a@sha256:12",
            "a@md5:00",
            "a b",
            "a//b",
            "a\nb",
            "é",
            "host:0/a",
            "host:x/a",
            "a..b/c",
            "-a",
            "a:b/c:d:e",
            "a@",
            "x.y/",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text:?}");
        }
    }
}
