//! The command line: arguments in, an exit code out.

pub(super) mod args;
mod best;
mod canned;
mod code;
mod compare;
mod cost;
mod diagnose;
mod diff;
mod files;
mod findings;
pub(super) mod globals;
mod history;
mod init;
mod manual;
pub(super) mod output;
mod plot;
mod progress;
mod ranked;
mod ranking;
mod refresh;
mod runs;
pub(super) mod schema;
pub(super) mod session;
mod show;
mod skill;
mod sql;
mod tried;
mod why;

use super::repl;
use super::terminal::{Colour, Terminal, print_usage};
use super::worker::{self, Asker};
use crate::engine::canned::{Canned, built_in};
use crate::error::UserError;
use crate::workspace::{QUERY_THREAD_NAME, Workspace};
use anyhow::{Context, Result};
use clap::ArgMatches;
use clap::error::ErrorKind;
use globals::Globals;
use session::Session;
use std::ffi::OsString;
use std::future::Future;

pub(super) use sql::{request, run as run_sql, statement};

/// Plans of deep queries recurse; the default of two megabytes overflows.
const STACK_BYTES: usize = 16 << 20;

/// Runs the command line of `argv` (program name first) and returns the exit code.
pub fn run(argv: Vec<OsString>) -> u8 {
    if worker::is_worker() {
        return ended(on_big_stack(|| execute(worker::serve())), &Terminal::new(Colour::Auto, false));
    }
    let parsed = match parse(argv) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let terminal = parsed.globals.terminal();
    ended(on_big_stack(move || execute(main(parsed))), &terminal)
}

fn ended(outcome: Result<u8>, terminal: &Terminal) -> u8 {
    outcome.unwrap_or_else(|error| fail(terminal, &error))
}

struct Parsed {
    matches: ArgMatches,
    globals: Globals,
    /// Open already where the user's own queries had to be known.
    workspace: Option<Workspace>,
}

/// Parses with the built-in commands, and once more with the user's own where that fails, or where help
/// is to list them.
fn parse(argv: Vec<OsString>) -> Result<Parsed, u8> {
    let first = args::command(built_in()).try_get_matches_from(&argv);
    let (matches, workspace) = match first {
        Ok(matches) => (matches, None),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::DisplayHelp) => {
            match parse_own(&argv, error.kind() == ErrorKind::InvalidSubcommand) {
                Some((matches, workspace)) => (matches.map_err(usage)?, Some(workspace)),
                None => return Err(usage(error)),
            }
        }
        Err(error) => return Err(usage(error)),
    };
    let globals = Globals::of(&matches).map_err(|error| fail(&Terminal::new(Colour::Auto, false), &error))?;
    let words = argv.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let globals = globals.with_words(words);
    Ok(Parsed { matches, globals, workspace })
}

type OwnMatches = (Result<ArgMatches, clap::Error>, Workspace);

/// `None` where there are no queries of the user's own. Where the command is unknown with them too, says
/// which could not be read: it may be one of those.
fn parse_own(argv: &[OsString], is_unknown: bool) -> Option<OwnMatches> {
    let workspace = Workspace::open(globals::early_options(argv)).ok()?;
    let has_own = workspace.queries().iter().any(|query| !query.built_in);
    let matches = has_own.then(|| args::command(workspace.queries()).try_get_matches_from(argv));
    let still_unknown = |error: &clap::Error| error.kind() == ErrorKind::InvalidSubcommand;
    let is_unknown =
        matches.as_ref().map_or(is_unknown, |matches| matches.as_ref().is_err_and(still_unknown));
    if is_unknown {
        let terminal = Terminal::new(Colour::Auto, false);
        workspace.notes().iter().for_each(|note| terminal.warning(note));
    }
    Some((matches?, workspace))
}

/// Prints help, the version, or what is wrong with the arguments.
fn usage(error: clap::Error) -> u8 {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    print_usage(error);
    code
}

fn fail(terminal: &Terminal, error: &anyhow::Error) -> u8 {
    let error = user_error(error);
    terminal.error(&error);
    error.exit_code()
}

/// The error a person can act on, wherever it hides in the chain.
pub(super) fn user_error(error: &anyhow::Error) -> UserError {
    let mut causes = error.chain();
    match error.downcast_ref::<UserError>().or_else(|| causes.find_map(|cause| cause.downcast_ref())) {
        Some(error) => error.clone(),
        None => UserError::failed(format!("{error:#}")),
    }
}

fn on_big_stack(work: impl FnOnce() -> Result<u8> + Send + 'static) -> Result<u8> {
    let thread = std::thread::Builder::new().name("runq".to_owned()).stack_size(STACK_BYTES).spawn(work);
    match thread.context("cannot start a thread")?.join() {
        Ok(result) => result,
        Err(_) => Err(UserError::failed("runq crashed; this is a bug").into()),
    }
}

fn execute(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    // Waiting is all this thread does: queries run on the threads of the engine.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        hear_of_size_limits();
        hush_query_threads();
        work.await
    });
    // A refresh that was interrupted ends with the process; any instant is safe for the cache.
    runtime.shutdown_background();
    result
}

/// The exit code.
async fn main(parsed: Parsed) -> Result<u8> {
    let Parsed { matches, globals, workspace } = parsed;
    let terminal = globals.terminal();
    if let Some((sql::NAME, matches)) = matches.subcommand() {
        // A process that asks opens neither logs nor cache.
        let asker = Asker::default();
        let code = interruptible(sql::run(&asker, &globals, &terminal, matches)).await?;
        asker.finish().await;
        return Ok(code);
    }
    let workspace = match workspace {
        Some(workspace) => workspace,
        None => Workspace::open(globals.options())?,
    };
    let session = Session::new(workspace, globals);
    let answered = match matches.subcommand() {
        Some((name, matches)) => interruptible(command(&session, name, matches)).await,
        None if terminal.is_stdin && terminal.is_stdout && !session.globals.asks_for_data() => {
            repl::run(&session).await
        }
        None => interruptible(overview(&session)).await,
    };
    answered.map(|()| 0)
}

/// Where the engine panics for want of room, the error of the query tells; of the other threads of that
/// query some may panic too, when it has been told long since.
fn hush_query_threads() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(QUERY_THREAD_NAME) {
            told(panic);
        }
    }));
}

/// A file that grows past a limit of the shell (`ulimit -f`) is an error to tell, not a signal to die of.
#[cfg(unix)]
fn hear_of_size_limits() {
    /// SIGXFSZ on Linux (but for MIPS) and the BSDs, macOS included.
    const SIZE_LIMIT: i32 = 25;
    // Listening is enough; where that is not possible the signal ends the process, as it would anyway.
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIZE_LIMIT));
}

#[cfg(not(unix))]
fn hear_of_size_limits() {}

/// Runs to its end or to Ctrl-C.
pub(super) async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(UserError::interrupted().into()),
    }
}

/// Runs a subcommand but `sql`. Each looks for changes first.
pub(super) async fn command(session: &Session, name: &str, matches: &ArgMatches) -> Result<()> {
    match name {
        "refresh" => return refresh::run(session, matches).await,
        skill::NAME => return skill::run(session, matches),
        init::NAME => return init::run(session, matches),
        manual::COMPLETIONS => return manual::completions(session, matches),
        manual::MAN => return manual::man(session, matches),
        _ => {}
    }
    if explains_only(name, matches) {
        return best::explain(session).await;
    }
    session.refresh().await?;
    match name {
        "schema" => schema::run(session, matches).await,
        "files" => files::run(session, matches).await,
        "latest" => show::latest(session).await,
        plot::NAME => plot::run(session, matches).await,
        code::NAME => code::run(session, matches).await,
        why::NAME => why::run(session, matches).await,
        name if diagnose::is_one(name) => diagnose::run(session, name, matches).await,
        name => canned_command(session, find(session, name)?, matches).await,
    }
}

async fn canned_command(session: &Session, query: &Canned, matches: &ArgMatches) -> Result<()> {
    let values = args::values(query, matches);
    match query.name.as_str() {
        "runs" if query.built_in => runs::run(session, values).await,
        "show" if query.built_in => show::run(session, values).await,
        "best" if query.built_in => best::run(session, values, matches).await,
        "diff" if query.built_in => diff::run(session, values, matches).await,
        "compare" if query.built_in => compare::run(session, values).await,
        "cost" if query.built_in => cost::run(session, values).await,
        "tried" if query.built_in => tried::run(session, values).await,
        _ if ranked::is_one(query) => ranked::run(session, query, values).await,
        "history" if query.built_in => history::run(session, values, matches).await,
        name if query.built_in && findings::is_one(name) => findings::run(session, name, &values).await,
        name => canned::run(session, name, &values).await,
    }
}

/// What `runq` alone prints where nobody types.
async fn overview(session: &Session) -> Result<()> {
    session.refresh().await?;
    canned::run(session, "overview", &args::Values::new()).await
}

fn explains_only(name: &str, matches: &ArgMatches) -> bool {
    name == "best" && matches.get_flag(best::EXPLAIN)
}

fn find<'a>(session: &'a Session, name: &str) -> Result<&'a Canned> {
    let queries = session.queries();
    let query = queries.iter().find(|query| query.is_called(name));
    query.ok_or_else(|| UserError::usage(format!("no command \"{name}\"")).into())
}

#[cfg(test)]
mod tests;
