//! House rules as tests.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|e| e == "rs") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// The layer a file of `src` belongs to.
fn layer(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
}

/// What each layer may use; `error` is open to all. Data flows one way.
const MAY_USE: &[(&str, &[&str])] = &[
    ("build", &[]),
    ("error", &[]),
    ("settings", &["records", "report", "sources"]),
    ("records", &[]),
    ("sources", &["records"]),
    ("store", &["records"]),
    ("ingest", &["sources", "records", "store"]),
    ("engine", &["store", "records"]),
    ("report", &[]),
    ("workspace", &["ingest", "store", "engine", "settings", "sources", "records"]),
    ("surfaces", &["workspace", "report", "records", "engine"]),
    ("main", &["surfaces"]),
    (
        "lib",
        &[
            "engine",
            "error",
            "ingest",
            "records",
            "report",
            "settings",
            "sources",
            "store",
            "surfaces",
            "workspace",
        ],
    ),
];

#[test]
fn data_flows_one_way() {
    let mut crossings = Vec::new();
    for file in rust_files("src") {
        let layer = layer(&file);
        let may_use = MAY_USE.iter().find(|(name, _)| *name == layer);
        let (_, may_use) = may_use.unwrap_or_else(|| panic!("layer {layer} is not in the table"));
        for line in fs::read_to_string(&file).unwrap().lines() {
            for used in line.split("crate::").skip(1).filter(|_| !line.trim_start().starts_with("//")) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != layer && used != "error" && !may_use.contains(&used.as_str()) {
                    crossings.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    assert!(crossings.is_empty(), "{}", crossings.join("\n"));
}

#[test]
fn surfaces_know_only_the_words_of_the_layers_below() {
    let open = ["engine::canned", "engine::hints", "records::goal", "records::names", "records::Goal"];
    for file in rust_files("src/surfaces") {
        for line in fs::read_to_string(&file).unwrap().lines() {
            for layer in ["engine::", "records::"] {
                let Some((_, used)) = line.split_once(&format!("crate::{layer}")) else { continue };
                let used = format!("{layer}{used}");
                assert!(
                    open.iter().any(|name| used.starts_with(name)),
                    "{}: {}",
                    file.display(),
                    line.trim()
                );
            }
        }
    }
}

#[test]
fn only_the_engine_knows_datafusion_and_the_layers_between_no_files() {
    // Logs of others may be Parquet files and databases: the sources read them, not the cache.
    let forbidden = [
        ("sources", ["datafusion::"].as_slice()),
        ("records", &["parquet::", "datafusion::", "rusqlite::"]),
        ("store", &["datafusion::"]),
        ("ingest", &["datafusion::", "rusqlite::"]),
        ("report", &["datafusion::", "rusqlite::"]),
    ];
    for file in rust_files("src") {
        let layer = layer(&file);
        let text = fs::read_to_string(&file).unwrap();
        for (_, words) in forbidden.iter().filter(|(name, _)| *name == layer) {
            for word in *words {
                let uses =
                    text.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                assert!(uses.is_none(), "{}: {}", file.display(), uses.unwrap());
            }
        }
    }
}

#[test]
fn functions_stay_readable() {
    let mut long = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("udfs/src")) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let mut open: Option<(usize, String, i64)> = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let begins = code.starts_with("fn ") || code.contains(" fn ") && code.ends_with('{');
            if open.is_none() && begins && !code.starts_with("//") && !code.ends_with(';') {
                open = Some((number, code.to_string(), 0));
            }
            let Some((start, name, depth)) = open.as_mut() else { continue };
            let line = line.replace("'{'", "").replace("'}'", "");
            *depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
            if *depth <= 0 && line.contains('}') {
                // Flat tables (schemas, views, help, matches) are exempt by name.
                let is_table = ["definitions", "fn runs()", "fn global", "fn arguments"]
                    .iter()
                    .any(|n| name.contains(n));
                if number - *start > 70 && !is_table {
                    long.push(format!("{}:{}: {} lines", file.display(), *start + 1, number - *start + 1));
                }
                open = None;
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
