#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::globals::{Globals, early_options, parse_bytes, parse_duration};
use super::output::Plan;
use super::*;
use crate::engine::canned::{ParamValue, parse as parse_query};
use crate::report::Format;
use std::path::PathBuf;
use std::time::Duration;

fn matches(words: &[&str]) -> ArgMatches {
    let argv = std::iter::once(&"runq").chain(words);
    args::command(built_in()).try_get_matches_from(argv).unwrap()
}

fn globals(words: &[&str]) -> Globals {
    Globals::of(&matches(words)).unwrap()
}

fn terminal(is_stdout: bool) -> Terminal {
    let mut terminal = Terminal::new(Colour::Never, false);
    terminal.is_stdout = is_stdout;
    terminal
}

#[test]
fn arguments_do_not_clash() {
    args::command(built_in()).debug_assert();
}

#[test]
fn every_command_has_help() {
    let mut root = args::command(built_in());
    root.build();
    let own: Vec<_> = root.get_subcommands().filter(|command| command.get_name() != "help").collect();
    assert!(own.len() >= 11);
    for command in own {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn help_comes_from_the_header() {
    let error = args::command(built_in()).try_get_matches_from(["runq", "best", "--help"]).unwrap_err();
    let text = error.to_string();
    for part in [
        "Rank runs by their best value of a metric",
        "NaN and infinities never win",
        "[METRIC]",
        "--min",
        "[default: 10]",
        "Columns:\n  run_id ",
        "Examples:\n  runq best val_loss",
        "--id-only",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn values_are_those_given() {
    let best = built_in().iter().find(|query| query.name == "best").unwrap();
    let root = matches(&["best", "val/loss", "-n", "3", "--max"]);
    let given = args::values(best, root.subcommand().unwrap().1);
    let text = ParamValue::Text("val/loss".to_owned());
    let want = [("limit", ParamValue::Integer(3)), ("max", ParamValue::Flag(true)), ("metric", text)];
    let want: args::Values = want.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(given, want);
}

#[test]
fn wrong_use_is_refused() {
    for words in [
        &["best"][..],
        &["best", "x", "--min", "--max"],
        &["best", "x", "-n", "few"],
        &["show"],
        &["nothing"],
        &["runs", "--format", "xlsx"],
        &["sql", "select 1", "-f", "x.sql"],
        &["refresh", "x"],
    ] {
        let argv = std::iter::once(&"runq").chain(words);
        let error = args::command(built_in()).try_get_matches_from(argv).expect_err(&words.join(" "));
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}

#[test]
fn aliases_are_the_same_commands() {
    assert_eq!(matches(&["list"]).subcommand_name(), Some("runs"));
    assert_eq!(matches(&["run", "x"]).subcommand_name(), Some("show"));
    assert_eq!(matches(&["latest"]).subcommand_name(), Some("latest"));
    matches(&["history"]);
    matches(&["best", "--explain"]);
    matches(&[]);
}

#[test]
fn global_options_stand_before_or_behind() {
    for words in [&["-C", "x", "runs", "--format", "json"][..], &["--format", "json", "runs", "-C", "x"]] {
        let globals = globals(words);
        assert_eq!(globals.format, Some(Format::Json));
        assert_eq!(globals.options().root, Some(PathBuf::from("x")));
    }
}

#[test]
fn root_and_cache_are_found_before_the_commands_are_known() {
    let found = |words: &[&str]| early_options(&words.iter().map(OsString::from).collect::<Vec<_>>()).root;
    for words in
        [&["runq", "mine", "-C", "x"][..], &["runq", "-Cx"], &["runq", "--root=x"], &["runq", "--root", "x"]]
    {
        assert_eq!(found(words), Some(PathBuf::from("x")), "{words:?}");
    }
    assert_eq!(found(&["runq", "mine"]), None);
}

#[test]
fn own_queries_become_commands_and_never_hide_ours() {
    let own = |name: &str| parse_query(name, "-- summary: Mine\n-- alias: list\nselect 1", false).unwrap();
    let queries: Vec<Canned> =
        built_in().iter().cloned().chain([own("mine"), own("sql"), own("runs")]).collect();
    let command = args::command(&queries);
    command.clone().debug_assert();
    assert!(command.find_subcommand("mine").is_some());
    assert_ne!(command.find_subcommand("sql").unwrap().get_about().unwrap().to_string(), "Mine");
    assert_eq!(command.find_subcommand("list").unwrap().get_name(), "runs");
}

#[test]
fn the_format_follows_the_reader() {
    let plan = |words: &[&str], is_terminal| Plan::of(&globals(words), &terminal(is_terminal));
    assert_eq!(plan(&[], true).unwrap().format, Format::Table);
    assert_eq!(plan(&[], false).unwrap().format, Format::Csv);
    assert_eq!(plan(&["-o", "x.parquet"], true).unwrap().format, Format::Parquet);
    assert_eq!(plan(&["-o", "x.csv", "--format", "json"], true).unwrap().format, Format::Json);
    assert_eq!(plan(&["--format", "arrow"], false).unwrap().format, Format::Arrow);
    for (words, message) in [
        (&["--format", "arrow"][..], "arrow is no text for a terminal"),
        (&["-o", "x.xlsx"], "the name x.xlsx tells no format"),
    ] {
        let error = plan(words, true).unwrap_err();
        assert_eq!((user_error(&error).message.as_str(), user_error(&error).exit_code()), (message, 2));
    }
}

#[test]
fn statements_have_a_time_where_nobody_watches() {
    let timeout = |words: &[&str], is_watched| {
        let mut terminal = terminal(is_watched);
        terminal.is_stderr = is_watched;
        globals(words).for_sql(&terminal).timeout
    };
    assert_eq!(timeout(&[], true), None);
    assert_eq!(timeout(&[], false), Some(Duration::from_secs(600)));
    for is_watched in [true, false] {
        assert_eq!(timeout(&["--timeout", "2h"], is_watched), Some(Duration::from_secs(7_200)));
    }
}

#[test]
fn commands_of_a_session_keep_its_place() {
    let session = globals(&["-C", "here", "--memory", "1G", "--no-refresh", "--format", "md"]);
    let within = globals(&["sql", "select 1", "-C", "there", "-o", "x.csv"]).within(&session);
    assert_eq!(within.options().root, Some(PathBuf::from("here")));
    assert_eq!(within.options().memory_bytes, Some(1 << 30));
    assert_eq!((within.no_refresh, within.format), (true, Some(Format::Md)));
    assert_eq!(within.output, Some(PathBuf::from("x.csv")));
}

#[cfg(unix)]
#[test]
fn options_go_to_another_process_as_they_are() {
    use std::os::unix::ffi::OsStringExt;
    let mut words = vec![OsString::from("runq"), OsString::from("-C")];
    words.extend([OsString::from_vec(vec![b'a', 0xff]), OsString::from("--memory"), OsString::from("1G")]);
    let matches = args::command(built_in()).try_get_matches_from(words).unwrap();
    let globals = Globals::of(&matches).unwrap();
    let there: Globals = serde_json::from_str(&serde_json::to_string(&globals).unwrap()).unwrap();
    assert_eq!(there.options().root, globals.options().root);
    assert_eq!(format!("{there:?}"), format!("{globals:?}"));
}

#[test]
fn sizes_and_times_have_units() {
    assert_eq!(parse_bytes("4G").unwrap(), 4 << 30);
    assert_eq!(parse_bytes("512MiB").unwrap(), 512 << 20);
    assert_eq!(parse_bytes("1.5kb").unwrap(), 1536);
    assert_eq!(parse_duration("30s").unwrap(), Duration::from_secs(30));
    assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
    assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
    for wrong in ["", "G", "4X", "-1G"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn errors_are_found_below_their_context() {
    let error = anyhow::Error::from(UserError::usage("wrong").hint("right")).context("while asking");
    assert_eq!(user_error(&error).exit_code(), 2);
    let plain = anyhow::anyhow!("inner").context("outer");
    assert_eq!(user_error(&plain), UserError::failed("outer: inner"));
}
