//! Logs whose texts mean harm: on a terminal, in files of every format, as names of folders.

use crate::common::Project;
use crate::model::wandb::{bytes_field, frame, int_field, item};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Texts that a terminal would obey or be deceived by, and that formats could stumble over.
const NASTY: [&str; 24] = [
    "\x1b[31mred\x1b[2J",
    "\x1b]52;c;cm0gLXJmIC8=\x07clipboard",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x1bP1$r0m\x1b\\dcs",
    "\u{9b}31mc1\u{90}\u{9d}",
    "bell\x07back\x08\x08del\x7f",
    "over\rwritten",
    "two\nlines\r\nerror: forged",
    "tab\tbed",
    "nul\0byte",
    "\u{202e}txt.exe\u{202c}",
    "\u{2066}isolated\u{2069}\u{200f}",
    "zero\u{200b}width\u{feff}\u{2060}",
    "tag\u{e0041}\u{e007f}ged",
    "a | b",
    "`code` <script>alert(1)</script>",
    "![x](http://evil.example/p.png)",
    "back\\slash \\| \"quoted\" 'single'",
    "=cmd|' /C calc'!A0",
    "a,b;c",
    "../../../../etc/passwd",
    "/etc/passwd",
    "$(rm -rf ~) && %s%n",
    "ünïcode 日本 👩‍🔬",
];

/// Fails on anything a terminal would take for more than text.
fn assert_harmless(shown: &str, what: &str) {
    let is_harmful = |c: char| {
        (c.is_control() && !['\n', '\t'].contains(&c))
            || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || ('\u{e0000}'..='\u{e007f}').contains(&c)
    };
    // A terminal itself turns line ends into two characters.
    let shown = shown.replace("\r\n", "\n");
    if let Some((at, c)) = shown.char_indices().find(|(_, c)| is_harmful(*c)) {
        let begin = shown[..at].char_indices().rev().nth(80).map_or(0, |(begin, _)| begin);
        panic!("{what}: {c:?} after {:?}", &shown[begin..at]);
    }
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = crate::common::runq();
    command.arg("-C").arg(project.root()).args(args);
    command.env_remove("RUNQ_CACHE").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a person sees of both streams.
#[cfg(unix)]
fn on_a_terminal(mut command: Command) -> String {
    use std::io::Read;
    let size = nix::pty::Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    command.stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    // The last hold on the other end must go, or reading never ends.
    drop(command);
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    let mut master = fs::File::from(terminal.master);
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

fn stdout(project: &Project, args: &[&str]) -> String {
    let output = command(project, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a W&B run says of itself.
struct Run<'a> {
    id: &'a str,
    project: &'a str,
    name: &'a str,
    notes: &'a str,
}

/// The log of a finished run: every text in it is hostile.
fn wandb(run: &Run<'_>, key: &str) -> Vec<u8> {
    let text = |field: u32, text: &str| bytes_field(field, text.as_bytes());
    let facts = [
        text(1, run.id),
        text(3, run.project),
        text(8, run.name),
        text(9, run.notes),
        text(10, run.notes),
        text(13, run.notes),
    ];
    let args = [text(5, run.notes), text(6, run.notes), text(12, run.notes)];
    let row = |step: i64| {
        let words = item("note", &json!(run.notes).to_string());
        [bytes_field(1, &item(key, "0.5")), bytes_field(1, &words), bytes_field(2, &int_field(1, step))]
            .concat()
    };
    let alert = [text(1, run.notes), text(2, run.notes), text(3, "WARN")];
    let printed = [int_field(1, 1), text(3, &format!("{}\n", run.notes))];
    let mut file = b":W&B\xE1\xBE\x00".to_vec();
    frame(&mut file, &bytes_field(17, &facts.concat()));
    frame(&mut file, &bytes_field(5, &bytes_field(1, &item(run.notes, &json!(run.notes).to_string()))));
    frame(&mut file, &bytes_field(26, &args.concat()));
    frame(&mut file, &bytes_field(2, &row(0)));
    frame(&mut file, &bytes_field(2, &row(1)));
    frame(&mut file, &bytes_field(10, &alert.concat()));
    frame(&mut file, &bytes_field(13, &printed.concat()));
    frame(&mut file, &bytes_field(18, &int_field(1, 0)));
    file
}

/// Each text as name, project, note, tag, key, hyperparameter, alert, and as the name of a file.
fn nasty_project() -> Project {
    let project = Project::in_memory();
    for (n, text) in NASTY.into_iter().enumerate() {
        let id = format!("run{n:02}");
        let run = Run { id: &id, project: text, name: text, notes: text };
        project
            .write(&format!("wandb/offline-run-20261120_1751{n:02}-{id}/run-{id}.wandb"), wandb(&run, text));
        let row = |step: i64| json!({"step": step, "loss": 0.5, text: 1.5, "note": text}).to_string() + "\n";
        let file: String = text.chars().filter(|c| !['/', '\0'].contains(c)).collect();
        project.write(&format!("json/{n:02}{file}.jsonl"), row(0) + &row(1) + "{\"step\": oops}\n" + &row(2));
    }
    project
}

#[cfg(unix)]
#[test]
fn nothing_that_a_terminal_obeys_reaches_it() {
    let project = nasty_project();
    let first = on_a_terminal(command(&project, &["refresh"]));
    assert!(first.contains("no JSON"), "files that could not be read are told:\n{first}");
    assert_harmless(&first, "refresh");
    let everything =
        "select * from runs r join texts t on t.run_id = r.run_id join configs c on c.run_id = r.run_id";
    for format in ["table", "csv", "tsv", "json", "jsonl", "md"] {
        let shown = on_a_terminal(command(&project, &["sql", everything, "--format", format]));
        assert!(shown.contains("clipboard"), "{format}:\n{shown}");
        assert_harmless(&shown, format);
    }
    for args in [
        &["runs"][..],
        &["keys"],
        &["show", "run00"],
        &["show", "run01", "--format", "md"],
        &["history", "run02"],
        &["best", NASTY[0], "--min"],
        &["best", NASTY[0], "--min", "--show-sql"],
        &["refresh", "--explain"],
        &["files", "metrics"],
        &["files", "--duckdb"],
        &["schema"],
        &["sql", "select message, path from problems"],
        &["sql", "select path from inputs"],
        &["sql", "select text, title from alerts"],
        &["sql", "select text from console"],
    ] {
        let shown = on_a_terminal(command(&project, args));
        assert!(
            shown.len() > 20 && !shown.contains("\nerror: ") && !shown.starts_with("error"),
            "{args:?}:\n{shown}"
        );
        assert_harmless(&shown, &format!("{args:?}"));
    }
}

#[cfg(unix)]
#[test]
fn messages_repeat_what_was_typed_or_logged_without_harm() {
    let project = nasty_project();
    project.refresh();
    for text in ["\x1b[31mre", "two\nlines\r\nerror: forge", "\u{202e}txt.ex"] {
        let option = format!("--{text}");
        let sql = format!("select \"{text}\" from runs");
        for args in [
            &["show", text][..],
            &["best", text],
            &["history", "run00", "-k", text],
            &["runs", &option],
            &["runs", "-n", text],
            &[text],
            &["sql", &sql],
            &["files", text],
            &["runs", "--timeout", text],
            &["runs", "-o", text],
        ] {
            // What is not for a terminal now may be on one later: `2> log`.
            let output = command(&project, &[args, &["--no-refresh"]].concat()).output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && message.starts_with("error: "), "{args:?}:\n{message}");
            assert_harmless(&message, &format!("{args:?}"));
            assert_eq!(message.matches("\nerror: ").count(), 0, "{args:?} forges a line:\n{message}");
        }
    }
    let shown = on_a_terminal(command(&project, &["best", "\x1b[31mre", "--no-refresh"]));
    assert!(shown.contains("did you mean"), "{shown}");
    assert_harmless(&shown, "nearest names");
}

/// A column of a CSV, TSV, JSON, JSONL, Arrow or Parquet file.
fn read_back(file: &Path, column: usize) -> BTreeSet<String> {
    use arrow::array::AsArray;
    let bytes = fs::read(file).unwrap();
    let of_batches = |batches: Vec<arrow::record_batch::RecordBatch>| {
        let texts = |batch: &arrow::record_batch::RecordBatch| {
            let texts =
                arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8).unwrap();
            texts.as_string::<i32>().iter().map(|text| text.unwrap().to_string()).collect::<Vec<_>>()
        };
        batches.iter().flat_map(texts).collect()
    };
    let of_object =
        |row: &Value| row.as_object().unwrap().values().nth(column).unwrap().as_str().unwrap().to_string();
    match file.extension().unwrap().to_str().unwrap() {
        kind @ ("csv" | "tsv") => {
            let delimiter = if kind == "csv" { b',' } else { b'\t' };
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes.as_slice());
            reader.records().map(|record| record.unwrap()[column].to_string()).collect()
        }
        "json" => serde_json::from_slice::<Vec<Value>>(&bytes).unwrap().iter().map(of_object).collect(),
        "jsonl" => std::str::from_utf8(&bytes)
            .unwrap()
            .lines()
            .map(|line| of_object(&serde_json::from_str(line).unwrap()))
            .collect(),
        "arrow" => of_batches(
            arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None)
                .unwrap()
                .map(Result::unwrap)
                .collect(),
        ),
        _ => {
            let file = fs::File::open(file).unwrap();
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            of_batches(reader.build().unwrap().map(Result::unwrap).collect())
        }
    }
}

#[test]
fn files_hold_the_texts_exactly() {
    let project = nasty_project();
    project.refresh();
    let wanted: BTreeSet<String> = NASTY.iter().map(|text| text.to_string()).collect();
    let sql = "select r.name, m.key, t.text from runs r join metrics m on m.run_id = r.run_id join texts t on t.run_id = r.run_id
        where r.source = 'wandb' order by 1, 2, 3";
    for format in ["csv", "tsv", "json", "jsonl", "arrow", "parquet"] {
        let file = project.root().join(format!("out.{format}"));
        stdout(&project, &["sql", sql, "-o", file.to_str().unwrap()]);
        for column in 0..3 {
            assert_eq!(read_back(&file, column), wanted, "{format} column {column}");
        }
    }
    // In a pipe as in a file: what is read by programs is exact.
    let piped = stdout(&project, &["sql", sql]);
    assert_eq!(piped, fs::read_to_string(project.root().join("out.csv")).unwrap());
    let json = stdout(&project, &["sql", sql, "--format", "json"]);
    assert_harmless(&json, "JSON, everywhere");
}

#[test]
fn markdown_keeps_each_row_a_line_and_text_text() {
    let project = nasty_project();
    project.refresh();
    let shown = stdout(&project, &["sql", "select key, run_id, value from metrics", "--format", "md"]);
    assert_harmless(&shown, "md");
    let cells = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
    assert!(shown.lines().count() > 60 && shown.lines().all(|line| cells(line) == 4), "{shown}");
    for text in ["a \\| b", "\\`code\\` \\<script>", "!\\[x](http", "back\\\\slash \\\\\\|"] {
        assert!(shown.contains(text), "{text}");
    }
}

#[test]
fn a_query_column_may_be_named_anything() {
    let project = nasty_project();
    project.refresh();
    let sql = "select 1 as \"\x1b[31m|`x`\n\", 2 as \"\x1b[31m|`x`\n\u{202e}\"";
    let json = stdout(&project, &["sql", sql, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["\x1b[31m|`x`\n"], 1);
    for format in ["md", "table", "json"] {
        assert_harmless(&stdout(&project, &["sql", sql, "--format", format]), format);
    }
    assert_eq!(stdout(&project, &["sql", sql, "--format", "md"]).lines().count(), 3);
}

/// All files of the cache, relative to it.
fn cache_files(project: &Project) -> Vec<PathBuf> {
    let cache = project.root().join(".runq");
    let mut folders = vec![cache.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path.strip_prefix(&cache).unwrap().to_path_buf())
            }
        }
    }
    files
}

#[test]
fn projects_of_any_name_stay_in_the_cache() {
    let project = Project::in_memory();
    let long = ["x".repeat(300), "é/".repeat(300), format!("{}y", "x".repeat(300))];
    let special = [
        ".",
        "..",
        "../..",
        "/",
        "\\",
        "CON",
        "nul",
        "a.",
        "a. ",
        "A",
        "a",
        "_",
        "=",
        "project=x",
        "%2e%2e",
        "a\0b",
        "~",
        " ",
    ];
    let names: Vec<&str> = special.into_iter().chain(long.iter().map(String::as_str)).chain(NASTY).collect();
    let before: BTreeSet<_> =
        fs::read_dir(project.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for (n, name) in names.iter().enumerate() {
        let id = format!("p{n:02}");
        let run = Run { id: &id, project: name, name: "n", notes: "n" };
        project.write(
            &format!("wandb/offline-run-20261120_1752{n:02}-{id}/run-{id}.wandb"),
            wandb(&run, "loss"),
        );
    }
    for _ in 0..2 {
        project.refresh();
        let shown: BTreeSet<String> = project.column("select project from runs").into_iter().collect();
        assert_eq!(shown, names.iter().map(|name| name.to_string()).collect());
        assert_eq!(
            project.column("select count(*) from metrics where key = 'loss'"),
            [(names.len() * 2).to_string()]
        );
        for file in cache_files(&project) {
            let parts: Vec<&str> = file.iter().map(|part| part.to_str().unwrap()).collect();
            assert!(parts.iter().all(|part| part.len() <= 255 && part.is_ascii()), "{file:?}");
            assert!(parts.len() != 3 || parts[1].starts_with("project="), "{file:?}");
            assert!(parts.len() <= 3, "{file:?}");
        }
        // Read anew, grown and compacted.
        project.append("wandb/offline-run-20261120_175200-p00/run-p00.wandb", [0; 3]);
    }
    let after: BTreeSet<_> =
        fs::read_dir(project.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let new: Vec<_> = after.difference(&before).map(|name| name.to_str().unwrap()).collect();
    assert_eq!(new, [".runq", "wandb"]);
}

#[test]
fn names_of_a_megabyte_are_kept_but_not_shown_in_full() {
    let project = Project::in_memory();
    let long = |begin: &str| format!("{begin}{}", "é".repeat(500_000));
    let (id, name, notes, key) = (long("id"), long("name"), long("notes"), long("key/loss"));
    let run = Run { id: &id, project: &name, name: &name, notes: &notes };
    project.write("wandb/offline-run-20261120_175100-long/run-long.wandb", wandb(&run, &key));
    let typed = Run { id: &"x".repeat(1_000), project: "p", name: "n", notes: "n" };
    project.write("wandb/offline-run-20261120_175101-typed/run-typed.wandb", wandb(&typed, "k"));
    let row =
        |step: i64, key: &str| json!({"step": step, "loss": 0.5, key: 1.5, "note": notes}).to_string() + "\n";
    let short: String = (0..3).map(|step| row(step, "x").replace(&notes, "n")).collect();
    project.write("json/train.jsonl", short + &row(3, &key) + &row(4, &key));
    project.write("json/config.json", json!({"text": notes, key.clone(): 1}).to_string());
    project.refresh();
    // An id that nobody can type is none.
    assert_eq!(project.column("select length(run_id) from runs where project = 'p'"), ["8"]);
    for (sql, wanted) in [
        ("select name from runs where length(name) > 100", &name),
        ("select project from runs where length(project) > 100", &name),
        ("select distinct key from metrics where length(key) > 100", &key),
        ("select distinct text from texts where length(text) > 100", &notes),
        ("select value from configs where key = 'text'", &notes),
    ] {
        assert_eq!(project.column(sql), [wanted.as_str()], "{sql}");
    }
    assert_eq!(project.column("select count(*) from metrics where key = 'loss' and step > 2"), ["2"]);
    let wandb_id = project.column("select run_id from runs where length(name) > 100")[0].clone();
    for args in [
        &["runs", "--format", "table"][..],
        &["keys", "--format", "table"],
        &["show", "json", "--format", "table"],
        &["show", &wandb_id, "--format", "md"],
        &["history", "json", "--format", "table"],
    ] {
        let shown = stdout(&project, args);
        let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest < 8_000, "{args:?}: a line of {longest} characters");
        assert!(shown.len() < 40_000, "{args:?}: {} bytes", shown.len());
    }
    let failed = command(&project, &["best", "key/los"]).output().unwrap();
    assert!(failed.stderr.len() < 20_000 && String::from_utf8_lossy(&failed.stderr).contains("key/loss"));
    let size = |path: &Path| fs::metadata(project.root().join(".runq").join(path)).unwrap().len();
    let sizes: Vec<(u64, PathBuf)> =
        cache_files(&project).into_iter().map(|path| (size(&path), path)).collect();
    let catalog: u64 =
        sizes.iter().filter(|(_, path)| path.starts_with("catalog.sqlite")).map(|(size, _)| size).sum();
    let parquet: u64 = sizes
        .iter()
        .filter(|(_, path)| path.extension().is_some_and(|e| e == "parquet"))
        .map(|(size, _)| size)
        .sum();
    assert!(
        catalog < 30 << 20 && parquet < 1 << 20,
        "catalog {catalog} bytes, Parquet {parquet} bytes: {sizes:?}"
    );
    assert!(sizes.iter().all(|(_, path)| path.iter().all(|part| part.len() <= 255)));
}
