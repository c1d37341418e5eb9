//! `make bench`: measures each figure beside its peer or limit in the same run, prints the table and
//! rewrites it in `bench/README.md`.
//!
//! It must never compare with a number from another run. Each figure runs in a process of its own,
//! so that none finds the memory, threads and warm caches another has left.
//!
//! A new figure is one file in `figures` and one line in [`figures::ALL`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

mod client;
mod etcd;
mod figures;
mod fleet;
mod host;
mod load;
mod machine;
mod plane;
mod report;
mod samples;
mod served;
mod static_server;
mod talk;

use figures::{
    ALL, Figure,
    agents::{hosts, server},
    flood, million,
    pages::page,
    watchers,
};
use report::{Report, Row};
use std::{
    error::Error,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

/// The binary's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a figure could not be measured.
type Failure = Box<dyn Error + Send + Sync>;

/// Where data files go: on the disk that holds the build, not in a memory file system.
const DATA: &str = "target/bench";

/// Asks the binary to measure one figure in its own process.
const ONE: &str = "--one";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [flag, name] if flag == ONE => measure(name),
        [flag, folder, count] if flag == million::FILL => fill(folder, count),
        [flag, folder] if flag == million::FILL_COMPANY => {
            answer(million::fill_company(Path::new(folder)))
        }
        [flag, folder] if flag == million::OPEN => open(folder),
        [flag, address, how, folder] if flag == watchers::READ => {
            answer(watchers::read(address, how, Path::new(folder)))
        }
        [flag, folder, count, off] if flag == served::SERVE => serve(folder, count, off),
        [flag, name, place] if flag == flood::FLOOD => done(flood::flood(name, place)),
        [flag, folder, address] if flag == page::PAGES => {
            done(page::run(Path::new(folder), address))
        }
        [flag, folder, count] if flag == server::SERVE => serve_agents(folder, count),
        [flag, folder] if flag == server::HOLD => done(server::hold(Path::new(folder))),
        [flag, folder, address, how, first, count] if flag == hosts::HOSTS => {
            be_hosts(folder, (address, how), (first, count))
        }
        [] => all(None),
        [names] => all(Some(names)),
        _ => Err("usage: quarterdeck-bench [NAME,NAME…]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quarterdeck-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the figures, or those of `only`; a full run rewrites the table.
fn all(only: Option<&str>) -> Result<(), Failure> {
    let chosen = chosen(only)?;
    let mut report = Report::new(machine::facts());
    for figure in chosen {
        eprintln!("{}: {}", figure.name, figure.about);
        match in_own_process(figure) {
            Ok(rows) => report.add(rows),
            Err(error) => report.failed(figure, &error.to_string()),
        }
    }
    println!("{}", report.table());
    if only.is_none() {
        report.rewrite(Path::new("bench/README.md"))?;
    }
    report.verdict()
}

fn chosen(only: Option<&str>) -> Result<Vec<&'static Figure>, Failure> {
    let Some(only) = only else { return Ok(ALL.iter().collect()) };
    only.split(',').map(|name| find(name.trim())).collect()
}

fn find(name: &str) -> Result<&'static Figure, Failure> {
    ALL.iter().find(|figure| figure.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|figure| figure.name).collect();
        format!("no figure is named {name:?}; there are {}", names.join(", ")).into()
    })
}

/// Starts this binary for one figure and reads the rows it prints.
fn in_own_process(figure: &Figure) -> Result<Vec<Row>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ONE, figure.name]).stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("not measured ({}); see above", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Measures one figure.
fn measure(name: &str) -> Result<(), Failure> {
    let figure = find(name)?;
    std::fs::create_dir_all(DATA)?;
    let folder = tempfile::tempdir_in(DATA)?;
    answer((figure.run)(folder.path()))
}

fn fill(folder: &str, count: &str) -> Result<(), Failure> {
    answer(million::fill(Path::new(folder), count.parse()?))
}

fn open(folder: &str) -> Result<(), Failure> {
    answer(million::open(Path::new(folder)))
}

fn serve(folder: &str, count: &str, off: &str) -> Result<(), Failure> {
    done(served::serve(Path::new(folder), count.parse()?, off))
}

fn serve_agents(folder: &str, count: &str) -> Result<(), Failure> {
    done(server::serve(Path::new(folder), count.parse()?))
}

fn be_hosts(folder: &str, whom: (&str, &str), (first, count): (&str, &str)) -> Result<(), Failure> {
    done(hosts::run(Path::new(folder), whom, (first.parse()?, count.parse()?)))
}

/// Does the work, which says for itself what there is to say.
fn done(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    runtime()?.block_on(work)
}

/// As the plane has it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(quarterdeck_api::runtime().build()?)
}

/// Does the work and prints what it answers as JSON for the process that asked.
fn answer<T: serde::Serialize>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(&runtime()?.block_on(work)?)?);
    Ok(())
}
