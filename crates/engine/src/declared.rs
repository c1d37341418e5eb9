//! What a rack says of its place that its site does not declare. Pure.

use quarterdeck_model::{
    FieldError,
    kinds::{RackSpec, SiteSpec},
};

/// A hall or power feed that a rack names and its site does not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undeclared<'r> {
    /// The rack's field.
    pub(crate) field: String,
    pub(crate) value: &'r str,
    /// One CamelCase word for the condition.
    pub(crate) reason: &'static str,
    /// What the site declares, and what to do.
    pub(crate) why: String,
}

impl Undeclared<'_> {
    pub(crate) fn error(&self) -> FieldError {
        FieldError::invalid(&self.field, format!("{:?}", self.value), &self.why)
    }
}

/// Everything that `rack` names and its site, of that name, does not declare.
pub(crate) fn undeclared<'r>(rack: &'r RackSpec, site: &SiteSpec) -> Vec<Undeclared<'r>> {
    let hall = rack.hall.iter().filter(|hall| !site.halls.contains(hall)).map(|hall| Undeclared {
        field: "spec.hall".into(),
        value: hall,
        reason: "HallNotDeclared",
        why: why(&rack.site, "hall", "halls", &site.halls),
    });
    let feeds = rack.power_feeds.iter().enumerate();
    let feeds =
        feeds.filter(|(_, feed)| !site.power_feeds.contains(feed)).map(|(at, feed)| Undeclared {
            field: format!("spec.powerFeeds[{at}]"),
            value: feed,
            reason: "PowerFeedNotDeclared",
            why: why(&rack.site, "power feed", "powerFeeds", &site.power_feeds),
        });
    hall.chain(feeds).collect()
}

/// Most names that are repeated in a sentence.
const SHOWN_MAX: usize = 20;

fn why(site: &str, what: &str, field: &str, declared: &[String]) -> String {
    if declared.is_empty() {
        return format!("Site {site} declares no {what}; add it to spec.{field} of the Site first");
    }
    let shown: Vec<&str> = declared.iter().map(String::as_str).take(SHOWN_MAX).collect();
    let more = if declared.len() > SHOWN_MAX { ", …" } else { "" };
    format!(
        "Site {site} declares {}{more}; name one of those, or add it to spec.{field} of the Site first",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn what_a_site_does_not_declare_is_named_with_what_it_does() {
        let site = SiteSpec {
            halls: texts(&["north"]),
            power_feeds: texts(&["a", "b"]),
            ..SiteSpec::default()
        };
        let bare = SiteSpec::default();
        for (hall, feeds, site, wanted) in [
            (None, &[][..], &bare, vec![]),
            (Some("north"), &["b", "a"][..], &site, vec![]),
            (
                Some("east"),
                &["a", "c"][..],
                &site,
                vec![
                    r#"spec.hall: Invalid value: "east": Site s declares north; name one of those, or add it to spec.halls of the Site first"#,
                    r#"spec.powerFeeds[1]: Invalid value: "c": Site s declares a, b; name one of those, or add it to spec.powerFeeds of the Site first"#,
                ],
            ),
            (
                Some("north"),
                &["a"][..],
                &bare,
                vec![
                    r#"spec.hall: Invalid value: "north": Site s declares no hall; add it to spec.halls of the Site first"#,
                    r#"spec.powerFeeds[0]: Invalid value: "a": Site s declares no power feed; add it to spec.powerFeeds of the Site first"#,
                ],
            ),
        ] {
            let rack = RackSpec {
                site: "s".into(),
                hall: hall.map(Into::into),
                power_feeds: texts(feeds),
                ..RackSpec::default()
            };
            let found: Vec<String> =
                undeclared(&rack, site).iter().map(|one| one.error().to_string()).collect();
            assert_eq!(found, wanted);
        }
        let many = SiteSpec {
            halls: (0..SHOWN_MAX + 1).map(|number| format!("h{number}")).collect(),
            ..SiteSpec::default()
        };
        let rack = RackSpec { site: "s".into(), hall: Some("x".into()), ..RackSpec::default() };
        assert!(undeclared(&rack, &many)[0].why.contains("h19, …;"));
    }
}
