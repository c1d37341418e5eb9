//! Where settings come from, and what is said of a wrong one.

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn later_sources_win_and_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\n\nlog = \"debug\"\n").unwrap();
    let flags = Flags {
        config: Some(file.clone()),
        store: Some("postgres://qd:secret@db:5432/qd".into()),
        ..Flags::default()
    };
    let environment = |name: &str| (name == "QUARTERDECK_LISTEN").then(|| "127.0.0.1:2".to_owned());
    let text = render(&gather(&flags, &environment).unwrap()).unwrap();
    let has = |part: &str| assert!(text.contains(part), "{part} in\n{text}");
    has(
        "listen = \"127.0.0.1:2\"  # address and port; port 0 picks a free one; from environment QUARTERDECK_LISTEN",
    );
    has(&format!("from {}:3", file.display()));
    has("postgres://qd:***@db:5432/qd");
    has("from flag --store");
    has("# load is not set");
    assert!(!text.contains("qd:secret"));
}

const PATH: &str = "a path";
const SIZE: &str = "a whole number of megabytes, at least 1";
const COUNT: &str = "a whole number, at least 1";
const LISTEN: &str = "an address and a port, such as 127.0.0.1:6443 or [::]:6443";
const STORE: &str = "a postgres:// URL, or not set for SQLite in the data folder";
const SILENCE: &str = "a number of seconds from 4 to 3600";
const NAMES: &str = "host names and addresses, with commas";
const LOG: &str = "a level (error, warn, info, debug, trace, off) or filters such as info,quarterdeck_engine=debug";

/// A wrong value of every setting.
const WRONG: [(&str, &str, &str); 24] = [
    ("data-dir", "", PATH),
    ("listen", "nowhere", LISTEN),
    ("listen", "localhost:6443", LISTEN),
    ("listen", "127.0.0.1", LISTEN),
    ("listen", "127.0.0.1:65536", LISTEN),
    ("store", "mysql://db", STORE),
    ("encryption-key-file", "", PATH),
    ("audit-log", "", PATH),
    ("audit-log-max-size", "0", SIZE),
    ("audit-log-max-size", "-1", SIZE),
    ("audit-log-max-size", "1.5", SIZE),
    ("audit-log-max-files", "many", COUNT),
    ("audit-policy-file", "", PATH),
    ("service-account-key-file", "", PATH),
    ("service-account-issuer", "", "a URL"),
    ("advertise", "plane.example.com:6443", LISTEN),
    ("agent-silence", "3", SILENCE),
    ("agent-silence", "40s", SILENCE),
    ("names", "a,,b", NAMES),
    ("load", "", PATH),
    ("log", "", LOG),
    ("log", "a=loud", LOG),
    ("log-format", "xml", "text or json"),
    ("log-format", "JSON", "text or json"),
];

#[test]
fn a_wrong_value_is_refused_wherever_it_comes_from() {
    for (setting, _, _) in SETTINGS {
        assert!(WRONG.iter().any(|(name, _, _)| *name == setting), "{setting} is not tried");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    for (name, value, allowed) in WRONG {
        let refused = |flags: &Flags,
                       environment: &dyn Fn(&str) -> Option<String>,
                       origin: &str| {
            let error = render(&gather(flags, environment).unwrap()).unwrap_err().to_string();
            assert_eq!(error, format!("{name} is {value:?} (from {origin}); it must be {allowed}"));
        };
        std::fs::write(&file, format!("# mine\n{name} = {value:?}\n")).unwrap();
        let config = Flags { config: Some(file.clone()), ..Flags::default() };
        refused(&config, &nothing, &format!("{}:2", file.display()));
        let variable = format!("QUARTERDECK_{}", name.to_uppercase().replace('-', "_"));
        if !value.is_empty() {
            let environment = |asked: &str| (asked == variable).then(|| value.to_owned());
            refused(&Flags::default(), &environment, &format!("environment {variable}"));
        }
        let flags = flag(name, value);
        refused(&flags, &nothing, &format!("flag --{name}"));
    }
}

#[test]
fn replicas_that_share_a_store_say_where_they_are_reached() {
    let with = |listen: &str, store: Option<&str>, advertise: Option<&str>| {
        let [store, advertise] = [store, advertise].map(|it| it.map(ToOwned::to_owned));
        let flags = Flags { listen: Some(listen.into()), store, advertise, ..Flags::default() };
        render(&gather(&flags, &nothing).unwrap()).map(drop).map_err(|error| error.to_string())
    };
    let shared = Some("postgres://db/quarterdeck");
    for listen in ["0.0.0.0:6443", "[::]:6443"] {
        let refused = with(listen, shared, None).unwrap_err();
        assert!(refused.contains(listen) && refused.contains("--advertise"), "{refused}");
        assert_eq!(with(listen, None, None), Ok(()));
        assert_eq!(with(listen, shared, Some("10.0.0.1:6443")), Ok(()));
    }
    assert_eq!(with("10.0.0.1:6443", shared, None), Ok(()));
}

/// The flags as they are given on the command line.
fn flag(name: &str, value: &str) -> Flags {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }
    let argument = format!("--{name}={value}");
    <Command as clap::Parser>::try_parse_from(["quarterdeck", &argument]).unwrap().flags
}

#[test]
fn a_file_that_cannot_be_used_says_why_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let path = file.display();
    let known = SETTINGS.map(|(name, _, _)| name).join(", ");
    for (text, wanted) in [
        (
            "lissen = \"127.0.0.1:1\"",
            format!("there is no setting \"lissen\" (from {path}:1); there are: {known}"),
        ),
        (
            "\n[log]\nformat = \"json\"",
            format!("log (from {path}:2) is a TOML table; it must be text in quotes or a number"),
        ),
        (
            "names = [\"a\", \"b\"]",
            format!("names (from {path}:1) is a TOML array; it must be text in quotes or a number"),
        ),
        ("log = \"info\"\nlisten = ", format!("{path}:2 is not TOML: ")),
        ("log = \"info\"\nlog = \"warn\"\n", format!("{path}:2 is not TOML: duplicate key")),
    ] {
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file.clone()), ..Flags::default() };
        let error = gather(&flags, &nothing).unwrap_err().to_string();
        assert!(error.starts_with(&wanted), "{error}\n{wanted}");
    }
    let missing = Flags { config: Some("/no/such/file.toml".into()), ..Flags::default() };
    let error = gather(&missing, &nothing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /no/such/file.toml: "), "{error}");
}

#[test]
fn no_refusal_shows_a_password() {
    let flags = Flags { store: Some("mysql://qd:secret@db/qd".into()), ..Flags::default() };
    let error = render(&gather(&flags, &nothing).unwrap()).unwrap_err().to_string();
    assert!(error.contains("mysql://qd:***@db/qd") && !error.contains("secret"), "{error}");
}

#[test]
fn a_password_is_hidden_however_it_is_written() {
    for (text, shown) in [
        ("postgres://qd:secret@db:5432/qd", "postgres://qd:***@db:5432/qd"),
        ("postgres://qd:se/cr?et@db/qd", "postgres://qd:***@db/qd"),
        ("postgres://qd:se@cret@db/qd", "postgres://qd:***@db/qd"),
        ("postgres://db/qd?user=qd&password=secret", "postgres://db/qd?user=qd&password=***"),
        ("postgres://db/qd?Password=secret&a=b", "postgres://db/qd?Password=***&a=b"),
        ("postgres://db/qd?password=sec@ret", "postgres://db:***"),
        ("host=db password=secret user=qd", "host=db password=*** user=qd"),
        ("host=db password = 'se cr\\'et' user=qd", "host=db password=*** user=qd"),
        ("host=db password='secret", "host=db password=***"),
        ("postgres://db/password", "postgres://db/password"),
        ("postgres://db/qd", "postgres://db/qd"),
        ("data/größe", "data/größe"),
    ] {
        assert_eq!(hide_password(text), shown, "{text}");
    }
}
