//! Configuration that lies beside a log: `config.json`, `hparams.yaml`, `args.yaml` and their like,
//! and what Hydra keeps in `.hydra`. It is no format of its own: it is attached to the runs whose logs
//! share its folder; Hydra's to those in or below the folder of its run.

use crate::records::ConfigValue;
use crate::sources::parse::json::{Json, flatten, parse};
use crate::sources::parse::python::literal;
use crate::sources::parse::words::{join, split};
use crate::sources::parse::yaml::{self, integer};
use crate::sources::{InputKind, RunInput, RunLogs};
use anyhow::{Context, bail};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// [`RunInput::role`] of a configuration document.
pub const ROLE: &str = "config";

/// Stem and extensions of configuration files; where keys repeat, later ones win.
const NAMES: &[(&str, &[&str])] = &[
    ("settings", &["yaml", "yml"]),
    ("options", &["json", "yaml", "yml"]),
    ("opts", &["yaml", "yml"]),
    ("flags", &["json"]),
    ("conf", &["yaml", "yml"]),
    ("cfg", &["yaml", "yml"]),
    ("torchtune_config", &["yaml"]),
    ("train_config", &["json", "yaml", "yml"]),
    ("training_args", &["json", "yaml", "yml"]),
    ("config", &["json", "yaml", "yml", "toml"]),
    ("params", &["json", "yaml", "yml"]),
    ("opt", &["yaml", "yml"]),
    ("args", &["txt", "yaml", "yml", "json"]),
    ("hyperparameters", &["json", "yaml", "yml", "toml"]),
    ("hyperparams", &["json", "yaml", "yml"]),
    ("hyp", &["yaml", "yml"]),
    ("hparams", &["yaml", "yml", "json"]),
];

/// Where Hydra keeps the configuration of a run.
pub const HYDRA: &str = ".hydra";

/// What is read there, in order.
const HYDRA_FILES: &[&str] = &["config.yaml", "overrides.yaml", "hydra.yaml"];

/// What is taken of Hydra's own settings; the rest is alike in all runs.
const HYDRA_KEYS: &[&str] = &["job.name", "job.num", "job.config_name", "job.override_dirname", "mode"];

/// Keys of a configuration that transformers wrote: it is that of the model.
const MODEL_KEYS: &[&str] = &["transformers_version", "model_type"];

/// Folders of checkpoints of the Trainer begin so; what lies beside them is of the same run.
const CHECKPOINT: &str = "checkpoint-";

/// Configuration larger than this is something else.
pub const MAX_BYTES: usize = 4 << 20;

/// How argparse prints what it read.
const NAMESPACE: &str = "Namespace(";

/// Nesting beyond this is refused.
const MAX_DEPTH: usize = 100;

/// Whether a path names a configuration file.
pub fn is_config(path: &str) -> bool {
    rank(path).is_some()
}

/// Place of a configuration file among others; `None` where it is none.
pub fn rank(path: &str) -> Option<(usize, usize)> {
    let (folder, name) = split(path);
    if split(folder).1 == HYDRA {
        return Some((0, HYDRA_FILES.iter().position(|known| *known == name)?));
    }
    let (stem, extension) = name.rsplit_once('.')?;
    let at = NAMES.iter().position(|(known, _)| *known == stem)?;
    let extensions = NAMES.get(at)?.1;
    Some((at, extensions.iter().position(|known| *known == extension)?))
}

/// Adds to each run the documents of `documents` that lie in the folder of one of its logs, and
/// before them those of the nearest run of Hydra around it. Where keys repeat, later ones win.
pub fn attach(runs: &mut [RunLogs], documents: &[String]) {
    let mut by_folder: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for path in documents.iter().filter(|path| is_config(path)) {
        by_folder.entry(split(path).0).or_default().push(path);
    }
    for found in by_folder.values_mut() {
        found.sort_by_key(|path| rank(path));
    }
    for run in runs {
        let folders = folders_of(run, &by_folder);
        let found = folders.iter().filter_map(|folder| by_folder.get(folder.as_str())).flatten();
        let inputs = found.map(|path| RunInput {
            path: path.to_string(),
            kind: InputKind::Document,
            role: ROLE.to_string(),
            segment: 0,
        });
        run.inputs.extend(inputs.collect::<Vec<_>>());
    }
}

/// Folders whose documents are of a run, in the order in which they count.
fn folders_of(run: &RunLogs, known: &BTreeMap<&str, Vec<&String>>) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    let mut add = |folder: &str| {
        if !folders.iter().any(|other| other == folder) {
            folders.push(folder.to_string());
        }
    };
    let logs = run.inputs.iter().filter(|input| input.kind != InputKind::Document);
    let own: Vec<&str> = logs.map(|input| split(&input.path).0).collect();
    own.iter().filter_map(|own| hydra_of(own, known)).for_each(|hydra| add(&hydra));
    for own in own {
        if split(own).1.starts_with(CHECKPOINT) {
            add(split(own).0);
        }
        add(own);
    }
    folders
}

/// Hydra's folder in the nearest folder that has one.
fn hydra_of(own: &str, known: &BTreeMap<&str, Vec<&String>>) -> Option<String> {
    let ends = own.match_indices('/').map(|(end, _)| end).chain([own.len()]);
    let folders = ends.filter_map(|end| own.get(..end)).filter(|folder| !folder.is_empty());
    let within = folders.map(|folder| join(folder, HYDRA));
    let candidates: Vec<String> = [HYDRA.to_string()].into_iter().chain(within).collect();
    candidates.into_iter().rev().find(|folder| known.contains_key(folder.as_str()))
}

/// Reads hyperparameters from a document, nested names joined with `.`. `path` tells the format.
pub fn read_config(path: &str, bytes: &[u8]) -> anyhow::Result<Vec<(String, ConfigValue)>> {
    if bytes.len() > MAX_BYTES {
        bail!("more than {MAX_BYTES} bytes are too many for a configuration");
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    let mut take = |prefix: &str, value: &Json<'_>| {
        flatten(prefix, value, &mut |key, value| values.push((key.to_string(), value.to_config())))
    };
    match path.rsplit('.').next().unwrap_or_default() {
        "json" => match parse(text.as_bytes()) {
            Ok((value @ Json::Object(_), _)) => take(if is_model(&value) { "model" } else { "" }, &value),
            Ok(_) => bail!("expected a JSON object"),
            Err(fault) => bail!("no JSON: {fault:?}"),
        },
        "toml" => take("", &toml_value(&toml::Value::Table(text.parse().context("no TOML")?), 0)),
        "txt" if text.trim_start().starts_with(NAMESPACE) => {
            let call = text.replace(NAMESPACE, "dict(");
            match literal(call.trim()) {
                Some((value @ Json::Object(_), _)) => take("", &value),
                _ => bail!("no Namespace of argparse"),
            }
        }
        _ => match (yaml::parse(&text)?, is_of_hydra(path)) {
            (list @ Json::Array(_), true) => take("hydra.overrides", &list),
            (value @ Json::Object(_), _) => take("", &value),
            (Json::Null, _) => {}
            _ => bail!("expected a YAML mapping"),
        },
    }
    let is_own = |key: &str| match is_of_hydra(path) && split(path).1 == "hydra.yaml" {
        true => key.strip_prefix("hydra.").is_some_and(|key| HYDRA_KEYS.contains(&key)),
        false => !key.is_empty(),
    };
    values.retain(|(key, _)| is_own(key));
    Ok(values)
}

fn is_of_hydra(path: &str) -> bool {
    split(split(path).0).1 == HYDRA
}

/// Whether a document describes a model, not a training.
fn is_model(value: &Json<'_>) -> bool {
    MODEL_KEYS.iter().all(|key| value.get(key).is_some())
}

fn toml_value(value: &toml::Value, depth: usize) -> Json<'static> {
    match value {
        _ if depth > MAX_DEPTH => Json::Null,
        toml::Value::String(text) => Json::String(Cow::Owned(text.clone())),
        toml::Value::Integer(number) => integer(*number),
        toml::Value::Float(number) => Json::Number(*number, b""),
        toml::Value::Boolean(flag) => Json::Bool(*flag),
        toml::Value::Datetime(time) => Json::String(Cow::Owned(time.to_string())),
        toml::Value::Array(items) => {
            Json::Array(items.iter().map(|item| toml_value(item, depth + 1)).collect())
        }
        toml::Value::Table(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, value)| (Cow::Owned(key.clone()), toml_value(value, depth + 1)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::find::judge;
    use proptest::prelude::*;

    #[test]
    fn arguments_as_argparse_prints_them() {
        let printed =
            texts("exp/args.txt", "Namespace(lr=0.1, name='a', sub=Namespace(dim=8), resume=None)\n");
        assert_eq!(printed[0], ("lr".to_string(), "0.1".to_string(), Some(0.1)));
        assert!(printed.iter().any(|(key, ..)| key == "sub.dim"), "{printed:?}");
        assert_eq!(texts("args.txt", "lr: 0.1\nbs: 8\n")[1], ("bs".to_string(), "8".to_string(), Some(8.0)));
        for path in
            ["a/cfg.yaml", "conf.yaml", "hyperparams.json", "a/training_args.json", "torchtune_config.yaml"]
        {
            assert!(is_config(path), "{path}");
        }
    }

    fn texts(path: &str, text: &str) -> Vec<(String, String, Option<f64>)> {
        let values = read_config(path, text.as_bytes()).unwrap();
        values.into_iter().map(|(key, value)| (key, value.text, value.number)).collect()
    }

    fn expected(values: &[(&str, &str, Option<f64>)]) -> Vec<(String, String, Option<f64>)> {
        values.iter().map(|(key, text, number)| (key.to_string(), text.to_string(), *number)).collect()
    }

    #[test]
    fn formats() {
        let json = r#"{"lr": 1e-4, "model": {"name": "gpt", "tied": false, "dims": [1, 2]}, "x": null}"#;
        let flat = expected(&[
            ("lr", "1e-4", Some(1e-4)),
            ("model.name", "gpt", None),
            ("model.tied", "false", None),
            ("model.dims", "[1, 2]", None),
            ("x", "null", None),
        ]);
        assert_eq!(texts("a/config.json", json), flat);
        let toml = "lr = 0.5\nwhen = 2026-01-02\n[model]\nlayers = 3\nname = 'gpt'\n";
        let flat = expected(&[
            ("lr", "0.5", Some(0.5)),
            ("when", "2026-01-02", None),
            ("model.layers", "3", Some(3.0)),
            ("model.name", "gpt", None),
        ]);
        let mut read = texts("config.toml", toml);
        read.sort_by(|a, b| flat.iter().position(|v| v.0 == a.0).cmp(&flat.iter().position(|v| v.0 == b.0)));
        assert_eq!(read, flat);
        assert_eq!(texts("config.json", "{\"lr\": NaN}")[0].1, "NaN");
    }

    #[test]
    fn yaml_of_python() {
        let text = concat!(
            "lr: 1e-4\nbetas: !!python/tuple\n- 0.9\n- 0.999\nact: !!python/name:torch.nn.ReLU ''\n",
            "path: !!python/object/apply:pathlib.PosixPath\n- /\n- data\nname: 'x'\nseed: 7\nnested:\n  b:\n    c: x\n",
            "nan: .nan\nargs: !!python/object:argparse.Namespace\n  lr: 0.5\nid: 123456789012345678\nempty: {}\nnone:\n",
        );
        let flat = expected(&[
            ("lr", "0.0001", Some(1e-4)),
            ("betas", "[0.9, 0.999]", None),
            ("act", "torch.nn.ReLU", None),
            ("path", "[\"/\", \"data\"]", None),
            ("name", "x", None),
            ("seed", "7", Some(7.0)),
            ("nested.b.c", "x", None),
        ]);
        let read = texts("hparams.yaml", text);
        assert_eq!(read[..7], flat[..]);
        assert!(
            read.iter().any(|(key, text, number)| key == "nan" && text == "NaN" && number.unwrap().is_nan())
        );
        assert!(read.contains(&("args.lr".into(), "0.5".into(), Some(0.5))));
        assert!(read.contains(&("id".into(), "123456789012345678".into(), None)));
        assert!(read.contains(&("none".into(), "null".into(), None)));
    }

    #[test]
    fn real_documents() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let args = std::fs::read(folder.join("ultralytics/runs/detect/det_base/args.yaml")).unwrap();
        assert!(read_config("args.yaml", &args).unwrap().len() > 100);
        let hparams =
            std::fs::read(folder.join("lightning/logs/csv/lightning_logs/clean/hparams.yaml")).unwrap();
        assert_eq!(read_config("hparams.yaml", &hparams).unwrap().len(), 10);
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        assert_eq!(read_config("config.yaml", b" \n").unwrap(), []);
        for (path, text) in
            [("config.json", "[1]"), ("config.json", "{"), ("config.yaml", "- 1"), ("config.yaml", "a: [")]
        {
            assert!(read_config(path, text.as_bytes()).is_err(), "{path} {text}");
        }
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
            assert!(read_config("config.yaml", text.as_bytes()).is_err());
            assert!(read_config("config.toml", format!("a = {text}").as_bytes()).is_err());
        }
    }

    #[test]
    fn documents_go_to_the_runs_of_their_folder() {
        let mut runs =
            vec![judge::one_run("a/log.jsonl"), judge::one_run("b/log.jsonl"), judge::one_run("c.csv")];
        let documents = ["a/hparams.yaml", "a/config.json", "a/other.json", "args.yaml", "b/c/config.json"]
            .map(String::from);
        attach(&mut runs, &documents);
        let paths =
            |run: &RunLogs| run.inputs[1..].iter().map(|input| input.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&runs[0]), ["a/config.json", "a/hparams.yaml"]);
        assert!(paths(&runs[1]).is_empty());
        assert_eq!(paths(&runs[2]), ["args.yaml"]);
        let input = &runs[2].inputs[1];
        assert_eq!((input.kind, input.role.as_str()), (InputKind::Document, ROLE));
    }

    #[test]
    fn what_hydra_keeps_goes_to_the_runs_in_and_below_its_own() {
        let mut runs = ["out/1/log.jsonl", "out/1/a/b/m.csv", "out/2/.hydra2/m.csv", "m.csv"]
            .map(judge::one_run)
            .to_vec();
        let documents = [
            "out/.hydra/config.yaml",
            "out/1/.hydra/hydra.yaml",
            "out/1/.hydra/config.yaml",
            "out/1/.hydra/overrides.yaml",
            "out/1/.hydra/other.yaml",
            "out/1/hparams.yaml",
        ]
        .map(String::from);
        attach(&mut runs, &documents);
        let paths = |run: &RunLogs| {
            run.inputs[1..].iter().map(|input| input.path.replace(".hydra/", "")).collect::<Vec<_>>()
        };
        let nearest = ["out/1/config.yaml", "out/1/overrides.yaml", "out/1/hydra.yaml", "out/1/hparams.yaml"];
        assert_eq!(paths(&runs[0]), nearest);
        assert_eq!(paths(&runs[1]), nearest[..3]);
        assert_eq!(paths(&runs[2]), ["out/config.yaml"]);
        assert!(paths(&runs[3]).is_empty());
    }

    #[test]
    fn values_of_hydra() {
        let config = "lr: ${opt.lr}\ndata: ???\nopt:\n  lr: 0.1\n";
        assert_eq!(
            texts("a/.hydra/config.yaml", config),
            expected(&[("lr", "${opt.lr}", None), ("data", "???", None), ("opt.lr", "0.1", Some(0.1))])
        );
        assert_eq!(
            texts(".hydra/overrides.yaml", "- opt.lr=0.1\n- +exp=a\n"),
            expected(&[("hydra.overrides", "[\"opt.lr=0.1\", \"+exp=a\"]", None)])
        );
        assert_eq!(texts(".hydra/overrides.yaml", "[]\n"), expected(&[("hydra.overrides", "[]", None)]));
        let own = "hydra:\n  run:\n    dir: x\n  mode: MULTIRUN\n  job:\n    name: train\n    num: 3\n    env_set: {}\n";
        assert_eq!(
            texts("a/.hydra/hydra.yaml", own),
            expected(&[
                ("hydra.mode", "MULTIRUN", None),
                ("hydra.job.name", "train", None),
                ("hydra.job.num", "3", Some(3.0))
            ])
        );
    }

    #[test]
    fn the_configuration_of_a_model_is_named_so() {
        let model = r#"{"model_type": "gpt2", "n_layer": 2, "transformers_version": "5.23.0"}"#;
        let read = texts("config.json", model);
        assert!(read.contains(&("model.n_layer".into(), "2".into(), Some(2.0))), "{read:?}");
        let mut runs = vec![judge::one_run("out/checkpoint-20/trainer_state.json")];
        let documents = ["out/args.json", "out/checkpoint-20/config.json", "out/checkpoint-10/config.json"];
        attach(&mut runs, &documents.map(String::from));
        let paths: Vec<_> = runs[0].inputs[1..].iter().map(|input| input.path.as_str()).collect();
        assert_eq!(paths, documents[..2]);
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[-a-z0-9:!&*?\\[\\]{}'\"|>#%@ \n\t.,~]{0,60}") {
            for path in ["config.yaml", "config.toml", "config.json"] {
                let _ = read_config(path, text.as_bytes());
            }
        }
    }
}
