//! `quarterdeck server enrol`: creates the servers that a file describes. All of it is checked first, here and by the
//! plane, so that a file is taken as a whole or told what is wrong with it.

use crate::{
    Error, Outcome,
    enrol::{Action, Known, Mistake, Read, Row, Step, act, check, column_in, read},
    output::note,
    plane::{Plane, Selection, Within},
    terminal::Screen,
    verbs::Common,
    view::enrol::{Enrolment, text},
};
use futures_util::{StreamExt as _, stream};
use quarterdeck_model::{Kind as _, kinds::Server};
use std::{
    fs::File,
    io::{self, Read as _},
};

/// Requests at once: enough to keep a plane busy, and few of what it gives one caller.
const AT_ONCE: usize = 32;
/// Size of a file: a hundred thousand rows have some tens of megabytes.
const BYTES_MAX: u64 = 256 << 20;
/// Progress is drawn anew after so many.
const DRAWN_EACH: usize = 100;

/// Which servers.
#[derive(Debug, clap::Args)]
pub struct EnrolArguments {
    /// A CSV or YAML file that describes them; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    filename: String,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Change those that are there and not as the file says
    #[arg(long)]
    update: bool,
    /// Leave out what is wrong, and do the rest
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    common: Common,
}

/// A row that is in order, and what is done for it.
struct Job<'a> {
    row: &'a Row,
    step: Step,
}

pub(super) async fn enrol(arguments: &EnrolArguments) -> Result<Outcome, Error> {
    let EnrolArguments { filename, dry_run, update, keep_going, common } = arguments;
    let Read { mut rows, mut mistakes } = read(filename, &contents(filename)?);
    let filename = if filename == "-" { "standard input" } else { filename.as_str() };
    let plane = Plane::open(&common.connection).await?;
    let mut known = Known::of(&rows);
    let all = Selection::default();
    plane.each(Server::info(), Within::Everywhere, &all, |server| known.see(server)).await?;
    mistakes.extend(check(&mut rows, &known));
    let right = rows.iter().filter(|row| !row.wrong);
    let jobs: Vec<Job<'_>> =
        right.map(|row| Job { row, step: act(row, known.there(&row.name), *update) }).collect();
    let mut progress = Progress::new(common.output.data(), jobs.len());
    let jobs = each(&plane, jobs, true, &mut progress, "checked").await?;
    let (refused, jobs): (Vec<Job<'_>>, Vec<Job<'_>>) =
        jobs.into_iter().partition(|job| job.step.failed.is_some());
    mistakes.extend(refused.iter().map(refusal));
    mistakes.sort();
    mistakes.iter().for_each(|mistake| note(&mistake.text(filename)));
    if !mistakes.is_empty() && !keep_going {
        return Err(wrong(filename, &mistakes));
    }
    let jobs = match dry_run {
        true => jobs,
        false => each(&plane, jobs, false, &mut progress, "written").await?,
    };
    let done = jobs.len();
    let enrolment = Enrolment {
        kind: "Enrolment",
        file: filename.to_owned(),
        dry_run: *dry_run,
        servers: jobs.into_iter().map(|job| job.step).collect(),
        left_out: rows.len() - done,
    };
    let value = || serde_json::to_value(&enrolment).unwrap_or_default();
    common.output.print(|| text(&enrolment, common.output.wide()), value)?;
    outcome(&enrolment, &mistakes)
}

fn outcome(enrolment: &Enrolment, mistakes: &[Mistake]) -> Result<Outcome, Error> {
    let file = &enrolment.file;
    match enrolment.failed() {
        0 if mistakes.is_empty() => Ok(Outcome::Done),
        0 => Err(wrong(file, mistakes)),
        _ => Err(Error::Refused(format!(
            "not all servers of {file} were enrolled; mend what is told above and run the same again: it leaves those that \
             are there"
        ))),
    }
}

fn wrong(file: &str, mistakes: &[Mistake]) -> Error {
    let number = crate::view::words::count(mistakes.len(), "mistake");
    Error::Usage(format!(
        "{file} has {number}, told above; nothing is done for a row with one, nor for any other without --keep-going"
    ))
}

/// The text of a file.
pub(super) fn contents(file: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = match file {
        "-" => io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text),
        path => File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text)),
    };
    let bytes = read.map_err(|error| Error::Usage(format!("cannot read {file}: {error}")))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes >= BYTES_MAX) {
        let most = BYTES_MAX >> 20;
        return Err(Error::Usage(format!("{file} has more than {most} MiB; split it")));
    }
    Ok(text)
}

/// Does what each job says, or only learns whether that would be accepted. The jobs come back in their order. Without the
/// plane nothing goes on.
async fn each<'a>(
    plane: &Plane,
    jobs: Vec<Job<'a>>,
    dry_run: bool,
    progress: &mut Progress,
    what: &str,
) -> Result<Vec<Job<'a>>, Error> {
    let work = jobs.into_iter().map(|job| one(plane, job, dry_run));
    let mut done = stream::iter(work).buffered(AT_ONCE);
    let mut jobs = Vec::new();
    while let Some(job) = done.next().await {
        jobs.push(job?);
        progress.tell(jobs.len(), what)?;
    }
    Ok(jobs)
}

async fn one<'a>(plane: &Plane, mut job: Job<'a>, dry_run: bool) -> Result<Job<'a>, Error> {
    let (row, kind) = (job.row, Server::info());
    let written = match job.step.action {
        Action::Create => plane.create(kind, "", &row.object, dry_run).await.map(drop),
        Action::Update => plane.merge(kind, "", &row.name, &row.object, dry_run).await.map(drop),
        Action::Keep | Action::Differ => Ok(()),
    };
    match written {
        Err(Error::Refused(why)) => job.step.failed = Some(why),
        other => other?,
    }
    Ok(job)
}

/// What the plane refuses, as a mistake of the row.
fn refusal(job: &Job<'_>) -> Mistake {
    let message = job.step.failed.clone().unwrap_or_default();
    let field = column_in(&message).map(|path| job.row.field(path).to_owned());
    Mistake { line: job.row.line, field, message }
}

/// How far it is, on a terminal.
struct Progress {
    screen: Option<Screen>,
    all: usize,
}

impl Progress {
    fn new(data: bool, all: usize) -> Self {
        let screen = Screen::new();
        Self { screen: Some(screen).filter(|screen| screen.live() && !data), all }
    }

    fn tell(&mut self, done: usize, what: &str) -> Result<(), Error> {
        let all = self.all;
        match &mut self.screen {
            Some(screen) if done.is_multiple_of(DRAWN_EACH) || done == all => {
                screen.draw(&[format!("● {done} of {all} servers {what}")])
            }
            _ => Ok(()),
        }
    }
}
