//! The verbs of the binary against a plane over a simulated fleet, as a person and as a script would use them, and as a
//! plugin of kubectl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod verbs {
    pub(crate) mod demo;
    pub(crate) mod enrol;
    pub(crate) mod machines;
    pub(crate) mod servers;
    pub(crate) mod workloads;
}

use quarterdeck_testing::{
    process::{Process, Signal, run},
    user::RunAs,
    wait::wait_for,
};
use serde_json::Value;
use std::{fs, os::unix::fs::symlink, path::Path};
use verbs::demo::{DEADLINE, Demo, ended, freeze};

/// A server of the fleet; the campaign of the examples is about others.
const SERVER: &str = "server/ams1-a01-01-u09";

#[tokio::test(flavor = "multi_thread")]
async fn verbs_drive_a_plane() {
    let demo = Demo::start().await;
    servers_and_runs(&demo).await;
    a_run_that_is_blocked(&demo).await;
    a_campaign(&demo).await;
    as_a_plugin(&demo).await;
    what_is_asked_wrongly(&demo).await;
    as_somebody_without_rights(&demo).await;
    on_a_terminal(&demo).await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_drive_the_lives_of_servers_and_machines() {
    let demo = Demo::start().await;
    verbs::machines::live(&demo).await;
    verbs::servers::live(&demo).await;
    verbs::enrol::live(&demo).await;
    verbs::workloads::live(&demo).await;
    demo.stop().await;
}

async fn servers_and_runs(demo: &Demo) {
    let said = demo.says(&["server", "power", "cycle", "ams1-a01-01-u09", "-n", "default"]).await;
    assert!(said.contains("power-cycle-server on Server ams1-a01-01-u09"), "{said}");
    assert!(said.contains("✓ power-off/power-off (power.set) Succeeded"), "{said}");
    assert!(said.lines().last().unwrap().contains("✓ Succeeded: done in"), "{said}");

    let done = demo.json(&["run", "start", "inspect-server", SERVER]).await;
    assert_eq!((&done["kind"], &done["status"]["phase"]), (&"Run".into(), &"Succeeded".into()));
    let name = done["metadata"]["name"].as_str().unwrap().to_owned();
    let dry = ["run", "start", "power-off-server", SERVER, "--dry-run", "--param", "grace=5m"];
    let dry = demo.json(&dry).await;
    assert_eq!(dry["spec"]["params"]["grace"], "5m");
    assert_eq!(dry["status"]["phase"], "Succeeded", "{dry}");

    let shown = demo.says(&["run", "show", &name]).await;
    assert!(shown.contains("✓ inventory   inventory.refresh   Succeeded"), "{shown}");
    let list = demo.json(&["run", "list", "--target", SERVER, "--phase", "Succeeded"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3, "{list}");
    let wide = demo.says(&["run", "list", "-o", "wide"]).await;
    assert!(wide.contains("MESSAGE") && wide.contains(&name), "{wide}");

    let view = demo.json(&["server", "show", "ams1-a01-01-u09"]).await;
    assert_eq!(view["site"]["metadata"]["name"], "ams1");
    assert!(view["runs"].as_array().unwrap().len() >= 3, "{view}");
    let rack = demo.says(&["server", "list", "--site", "ams1", "--rack", "ams1-a01-01"]).await;
    assert!(rack.starts_with("NAME") && rack.contains("ams1-a01-01-u09"), "{rack}");
    // Of this fleet it is one whose firmware is behind.
    let why = demo.says(&["why", SERVER]).await;
    assert!(why.contains("FirmwareCurrent is False: FirmwareDiffers"), "{why}");
    assert!(why.contains("kubectl describe serverprofile compute-gen5"), "{why}");

    let timeline = demo.json(&["timeline", SERVER]).await;
    let sources: Vec<&str> = timeline["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["source"].as_str().unwrap())
        .collect();
    for source in ["Change", "Condition", "Event", "Run", "Step"] {
        assert!(sources.contains(&source), "{source} is missing: {timeline}");
    }
    let yaml = demo.says(&["run", "show", &name, "-o", "yaml"]).await;
    assert!(yaml.contains("\nkind: Run\n") && !yaml.contains("managedFields"), "{yaml}");
}

async fn a_run_that_is_blocked(demo: &Demo) {
    demo.kubectl(&["create", "-f", "-"], &freeze(&[])).await;
    let start = ["run", "start", "power-cycle-server", SERVER];
    let blocked = demo.json(&[&start[..], &["--no-follow"]].concat()).await;
    let name = blocked["metadata"]["name"].as_str().unwrap();
    let subject = format!("run/{name}");
    let why = wait_for(DEADLINE, "the freeze to be named", async || {
        let why = demo.json(&["why", &subject]).await;
        let who = why["findings"][0]["who"] == "freeze/peak";
        if who { Ok(why) } else { Err(why.to_string()) }
    })
    .await;
    assert_eq!(
        why["findings"][0]["message"],
        "freeze peak holds until 2999-01-01T00:00:00Z: peak season"
    );
    let text = demo.says(&["why", &subject]).await;
    assert!(
        text.contains("what can be done") && text.contains("kubectl delete freeze peak"),
        "{text}"
    );
    let top = demo.says(&["top"]).await;
    assert!(top.contains("longest waits") && top.contains("peak season"), "{top}");

    // One more lines up behind it.
    let next = demo.json(&[&start[..], &["--no-follow"]].concat()).await;
    let next = next["metadata"]["name"].as_str().unwrap();
    wait_for(DEADLINE, "it to be queued", async || {
        let why = demo.says(&["why", &format!("run/{next}")]).await;
        let ahead = why.contains(&format!("run default/{name} is before it"));
        if ahead && why.contains("peak season") { Ok(()) } else { Err(why) }
    })
    .await;
    let cancelled = demo.says(&["run", "cancel", next]).await;
    assert!(cancelled.contains("is being cancelled"), "{cancelled}");
    let (said, code) = demo.refuses(&["run", "follow", next]).await;
    assert_eq!(code, 4, "{said}");

    // Whoever stops following stops nothing.
    let mut following = demo.start_verb("following", &["run", "follow", name]);
    following.wait_for_line("peak season", DEADLINE).await;
    let status = following.end(Signal::INT, DEADLINE).await;
    assert_eq!(status.code(), Some(130), "{}", following.output());
    assert!(following.output().contains("the run goes on"), "{}", following.output());

    let paused = demo.says(&["run", "pause", name]).await;
    assert!(paused.contains("begins no further step"), "{paused}");
    wait_for(DEADLINE, "it to be paused", async || {
        let why = demo.says(&["why", &subject]).await;
        if why.contains("asked to pause") { Ok(()) } else { Err(why) }
    })
    .await;
    demo.says(&["run", "resume", name]).await;
    let mut following = demo.start_verb("again", &["run", "follow", name]);
    following.wait_for_line("peak season", DEADLINE).await;
    demo.kubectl(&["delete", "freeze", "peak"], "").await;
    following.wait_until_end(DEADLINE).await;
    assert!(following.output().contains("✓ Succeeded"), "{}", following.output());

    // It was cancelled before it did anything.
    let (said, code) = demo.refuses(&["run", "retry", next]).await;
    assert_eq!(code, 1);
    assert!(said.contains("no step of run"), "{said}");
    one_that_was_cancelled_is_tried_again(demo).await;
}

async fn one_that_was_cancelled_is_tried_again(demo: &Demo) {
    demo.kubectl(&["create", "-f", "-"], &freeze(&[])).await;
    let start = ["run", "start", "power-cycle-server", SERVER, "--follow", "--no-follow"];
    let run = demo.json(&start).await;
    let name = run["metadata"]["name"].as_str().unwrap();
    let mut following = demo.start_verb("cancelled", &["run", "follow", name]);
    following.wait_for_line("peak season", DEADLINE).await;
    demo.says(&["run", "cancel", name]).await;
    let ended = wait_for(DEADLINE, "it to be cancelled", async || {
        following.exit_status().ok_or_else(|| following.output())
    })
    .await;
    assert_eq!(ended.code(), Some(4), "{}", following.output());
    demo.kubectl(&["delete", "freeze", "peak"], "").await;
    let (said, code) = demo.refuses(&["run", "retry", name, "--from", "nowhere"]).await;
    assert!(code == 2 && said.contains("it has: power-off"), "{said}");
    let again = demo.says(&["run", "retry", name, "--follow"]).await;
    assert!(again.lines().last().unwrap().contains("✓ Succeeded"), "{again}");
}

async fn a_campaign(demo: &Demo) {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/disruption");
    let file = format!("{examples}/20-restart-web.yaml");
    demo.kubectl(&["apply", "-f", &format!("{examples}/10-shop.yaml")], "").await;
    for (number, unit) in [1, 3, 5, 7].into_iter().enumerate() {
        let ready = r#"{"status":{"phase":"Ready"}}"#;
        let instance = format!("web-{number}");
        let patch = ["patch", "instance", &instance, "-n", "shop", "--subresource", "status"];
        demo.kubectl(&[&patch[..], &["--type", "merge", "-p", ready]].concat(), "").await;
        demo.kubectl(&["label", "server", &format!("ams1-a01-01-u0{unit}"), "role=web"], "").await;
    }
    demo.kubectl(&["create", "-f", "-"], &freeze(&["ams1-a01-01"])).await;
    let plan = wait_for(DEADLINE, "the service to be counted", async || {
        let plan = demo.json(&["campaign", "plan", "-f", &file]).await;
        let known = plan["blockers"].as_array().unwrap().len() == 2;
        if known { Ok(plan) } else { Err(plan.to_string()) }
    })
    .await;
    assert_eq!((&plan["campaign"], &plan["targets"]), (&"ops/restart-web".into(), &4.into()));
    assert_eq!((&plan["wavesInAll"], &plan["waves"][0]["canary"]), (&2.into(), &true.into()));
    assert_eq!(plan["blockers"][0]["who"], "freeze/peak");
    assert_eq!(plan["blockers"][1]["who"], "service/shop/web");
    let none = demo.kubectl(&["get", "campaigns", "-A", "-o", "name"], "").await;
    assert_eq!(none, "", "a plan creates nothing");

    demo.kubectl(&["apply", "-f", &file], "").await;
    let plan = demo.says(&["campaign", "plan", "restart-web", "-n", "ops"]).await;
    assert!(plan.contains("1 canary   1 target") && plan.contains("peak season"), "{plan}");
    let one = |verb: &'static str| ["campaign", verb, "restart-web", "-n", "ops"];
    let limits = [&one("limits")[..], &["--concurrency", "3", "--failure-limit", "50%"]].concat();
    let limited = demo.json(&limits).await;
    assert_eq!(limited["spec"]["concurrency"], 3);
    assert_eq!(limited["spec"]["failureLimit"], "50%");
    assert!(demo.says(&one("start")).await.contains("campaign ops/restart-web begins"));
    let mut following = demo.start_verb("campaign", &one("follow"));
    following.wait_for_line("peak season", DEADLINE).await;
    let why = wait_for(DEADLINE, "it to say for whom it waits", async || {
        let why = demo.json(&["why", "campaign/ops/restart-web"]).await;
        if why["findings"][1]["who"] == "freeze/peak" { Ok(why) } else { Err(why.to_string()) }
    })
    .await;
    assert_eq!(why["phase"], "Canary");
    demo.says(&one("pause")).await;
    following.wait_for_line("Paused", DEADLINE).await;
    assert!(demo.says(&one("resume")).await.contains("goes on"));
    demo.kubectl(&["delete", "freeze", "peak"], "").await;
    // A simulated machine may fail; what must hold is that it is followed to its end.
    let ended = wait_for(DEADLINE, "the campaign to be over", async || {
        following.exit_status().ok_or_else(|| following.output())
    })
    .await;
    let shown = demo.says(&one("show")).await;
    match ended.code() {
        Some(0) => assert!(shown.contains("✓") && shown.contains("4 of 4 done"), "{shown}"),
        Some(3) => assert!(shown.contains("✗ failed"), "{shown}"),
        other => panic!("{other:?}: {}", following.output()),
    }
    let list = demo.says(&["campaign", "list", "-A"]).await;
    assert!(list.contains("restart-web") && list.contains("█"), "{list}");
    let service = demo.says(&["why", "service/web", "-n", "shop"]).await;
    assert!(service.contains("of its 4 instances"), "{service}");
    let (said, code) = demo.refuses(&one("pause")).await;
    assert!(code == 1 && said.contains("is over"), "{said}");
}

/// Linked into PATH, kubectl finds it, with its own rules for what it connects to.
async fn as_a_plugin(demo: &Demo) {
    let folder = demo.home.path().join("bin");
    fs::create_dir(&folder).unwrap();
    for link in ["kubectl-quarterdeck", "kubectl_complete-quarterdeck", "quarterdeck"] {
        symlink(env!("CARGO_BIN_EXE_quarterdeck"), folder.join(link)).unwrap();
    }
    let path = std::env::join_paths(
        [folder].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut command = demo.command(Path::new("kubectl"), arguments);
        command.env("PATH", &path);
        command
    };
    let why =
        run(&kubectl(&["quarterdeck", "why", SERVER, "-o", "json"]), "").await.unwrap().stdout;
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!(why["subject"], SERVER);
    let context = ["quarterdeck", "top", "--context", "quarterdeck", "--kubeconfig"];
    let kubeconfig = demo.kubeconfig();
    let mut command = kubectl(&[&context[..], &[kubeconfig.to_str().unwrap()]].concat());
    // Several files, of which some are not there.
    command.env("KUBECONFIG", format!("/nonexistent:{}", kubeconfig.display()));
    assert!(run(&command, "").await.unwrap().stdout.starts_with("servers "));
    let help = run(&kubectl(&["quarterdeck", "why", "--help"]), "").await.unwrap().stdout;
    assert!(help.contains("Usage: kubectl quarterdeck why"), "{help}");
    let next = run(&kubectl(&["__complete", "quarterdeck", "run", "re"]), "").await.unwrap().stdout;
    assert!(next.contains("resume\t") && next.contains("retry\t"), "{next}");
    let next = ["__complete", "quarterdeck", "server", "show", "ams1-a01-01-u0"];
    let next = run(&kubectl(&next), "").await.unwrap().stdout;
    assert!(next.contains("ams1-a01-01-u09"), "{next}");
    for shell in ["bash", "zsh", "fish"] {
        let script = demo.says(&["completion", shell]).await;
        assert!(
            script.contains("COMPLETE=") && script.contains("quarterdeck"),
            "{shell}: {script}"
        );
    }
    in_a_shell(demo, &path).await;
}

/// What a shell offers for words of which the last is being typed.
async fn in_a_shell(demo: &Demo, path: &std::ffi::OsStr) {
    let offered = async |words: &str, kubeconfig: &Path| {
        let script = format!(
            r#"source <(quarterdeck completion bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9
               _clap_complete_quarterdeck quarterdeck "${{COMP_WORDS[COMP_CWORD]}}"; printf '%s\n' "${{COMPREPLY[@]}}""#
        );
        let mut command = demo.command(Path::new("bash"), &["-c", &script]);
        command.env("PATH", path).env("KUBECONFIG", kubeconfig);
        let said = run(&command, "").await.unwrap().stdout;
        said.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let kubeconfig = demo.kubeconfig();
    for (words, wanted) in [
        ("quarterdeck cam", "campaign"),
        ("quarterdeck server show ams1-a01-01-u0", "ams1-a01-01-u09"),
        ("quarterdeck run start power-cy", "power-cycle-server"),
        ("quarterdeck run start power-cycle-server ser", "server/"),
        (
            "quarterdeck run start power-cycle-server server/ams1-a01-01-u0",
            "server/ams1-a01-01-u09",
        ),
        ("quarterdeck top -n quarterdeck-s", "quarterdeck-system"),
    ] {
        let offered = offered(words, &kubeconfig).await;
        assert!(offered.iter().any(|it| it == wanted), "{words}: {offered:?}");
    }
    // A plane that is away offers nothing, and holds up nobody.
    let began = std::time::Instant::now();
    let away = demo.home.path().join("away");
    let there = fs::read_to_string(&kubeconfig).unwrap();
    let server = there.lines().find(|line| line.contains("server: ")).unwrap();
    fs::write(&away, there.replace(server.trim(), "server: https://192.0.2.1:6443")).unwrap();
    assert_eq!(offered("quarterdeck server show ams", &away).await, [""]);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

async fn what_is_asked_wrongly(demo: &Demo) {
    let power_off = ["run", "start", "power-off-server", SERVER];
    let wrong_param = [&power_off[..], &["--param", "grase=5m"]].concat();
    let plan = demo.home.path().join("plan.yaml");
    fs::write(&plan, "kind: Secret\n").unwrap();
    let plan = plan.to_str().unwrap();
    for (arguments, code, said) in [
        (&["run", "start", "power-cyle-server", SERVER][..], 1, "did you mean power-cycle-server"),
        (
            &["run", "start", "inspect-server", "server/ams1-a01-01-u0"],
            1,
            "did you mean ams1-a01-01-u0",
        ),
        (
            &["run", "start", "inspect-server", "rack/ams1-a01-01"],
            1,
            "supported values: \"Server\"",
        ),
        (&["run", "start", "inspect-server"], 1, "is run against a Server"),
        (&wrong_param, 2, "did you mean grace?"),
        (&["why", "sever/x"], 2, "there is no kind \"sever\"; did you mean server?"),
        (
            &["run", "follow", "nothing-like-it"],
            1,
            "see what there is: kubectl get runs -n default",
        ),
        (
            &["run", "list", "-n", "default", "--kubeconfig", "/nonexistent"],
            1,
            "/nonexistent cannot be read",
        ),
        (&["top", "--context", "nope"], 1, "there is no context \"nope\""),
        (&["campaign", "plan", "-f", plan], 2, "describes no Campaign"),
        (&["campaign", "limits", "x"], 2, "--concurrency"),
        (&["run", "fly"], 2, "unrecognized subcommand"),
    ] {
        let (reason, ended) = demo.refuses(arguments).await;
        assert!(reason.contains(said), "{arguments:?}: {reason}");
        assert_eq!(ended, code, "{arguments:?}: {reason}");
    }
    let nowhere = demo.home.path().join("nowhere");
    let mut command = demo.quarterdeck(&["top"]);
    command.env("KUBECONFIG", "").env("HOME", &nowhere);
    let (reason, code) = ended(run(&command, "").await);
    assert!(code == 1 && reason.contains("there is no kubeconfig"), "{reason}");
    // A plane that is not there is told with its address, and from where that is known.
    let text = fs::read_to_string(demo.kubeconfig()).unwrap();
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    let server = server.trim_matches('"');
    fs::write(&nowhere, text.replace(server, "https://127.0.0.1:1")).unwrap();
    command.env("KUBECONFIG", &nowhere);
    let (reason, code) = ended(run(&command, "").await);
    assert!(
        code == 1 && reason.contains("cannot reach the plane at https://127.0.0.1:1 "),
        "{reason}"
    );
    assert!(reason.contains(nowhere.to_str().unwrap()), "{reason}");
}

/// A token in place of a certificate; and what its holder may not see is said.
async fn as_somebody_without_rights(demo: &Demo) {
    demo.kubectl(&["create", "serviceaccount", "visitor"], "").await;
    let token = demo.kubectl(&["create", "token", "visitor"], "").await;
    let file = demo.home.path().join("visitor");
    fs::copy(demo.kubeconfig(), &file).unwrap();
    let config = async |arguments: &[&str]| {
        let file = file.to_str().unwrap();
        demo.kubectl(&[&["config", "--kubeconfig", file][..], arguments].concat(), "").await;
    };
    config(&["set-credentials", "visitor", "--token", token.trim()]).await;
    config(&["set-credentials", "stranger", "--token", "nonsense"]).await;
    for name in ["visitor", "stranger"] {
        config(&["set-context", name, "--cluster", "quarterdeck", "--user", name]).await;
    }
    let file = file.to_str().unwrap();
    let of = |name| ["--kubeconfig", file, "--context", name];
    let (said, code) = demo.refuses(&[&["run", "list"][..], &of("visitor")].concat()).await;
    assert!(code == 1 && said.contains("refuses listing runs"), "{said}");
    assert!(said.contains("system:serviceaccount:default:visitor"), "{said}");
    let top = run(&demo.quarterdeck(&[&["top"][..], &of("visitor")].concat()), "").await.unwrap();
    assert!(top.stderr.contains("not shown: servers: the plane refuses"), "{}", top.stderr);
    let (said, code) = demo.refuses(&[&["top"][..], &of("stranger")].concat()).await;
    assert!(code == 1 && said.contains("does not know who you are"), "{said}");
}

/// `script` gives a verb a terminal, where it draws in place.
async fn on_a_terminal(demo: &Demo) {
    let binary = env!("CARGO_BIN_EXE_quarterdeck");
    let on_terminal = |verb: &str| {
        let line = format!("{binary} {verb}");
        demo.command(Path::new("script"), &["--quiet", "--return", "--command", &line, "/dev/null"])
    };
    let drawn = run(&on_terminal("server power cycle ams1-a01-01-u09"), "").await.unwrap().stdout;
    assert!(drawn.contains("A\u{1b}[J"), "lines are drawn anew: {drawn:?}");
    assert!(drawn.contains("\u{1b}[32m✓\u{1b}[0m run default/power-cycle-server-"), "{drawn:?}");
    let log = demo.home.path().join("top");
    let mut top = Process::start("top", &on_terminal("top"), RunAs::Caller, &log);
    top.wait_for_line("permits ", DEADLINE).await;
    demo.says(&["run", "start", "inspect-server", SERVER]).await;
    let count = |text: &str| {
        let runs: Vec<&str> = text.lines().filter(|line| line.starts_with("runs ")).collect();
        runs.windows(2).filter(|two| two[0] != two[1]).count()
    };
    top.wait_until_ready(DEADLINE, "it was drawn anew", async |top| {
        if count(&top.output()) > 0 { Ok(()) } else { Err("it is the same") }
    })
    .await;
    let status = top.end(Signal::INT, DEADLINE).await;
    assert!(status.code() == Some(0) || status.code() == Some(130), "{status}");
}
