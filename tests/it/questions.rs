//! The questions people ask of a folder of trainings, each in one command of an agent: the answer, and what it
//! costs to read.

use crate::agent::real;
use crate::code::{commands, shell};
use crate::common::runq;
use crate::shelf::{CODES, shelf};
use std::path::{Path, PathBuf};

/// What an agent read.
struct Answer {
    text: String,
    /// Its first table: names of columns, then rows.
    table: Vec<Vec<String>>,
}

impl Answer {
    fn column(&self, name: &str) -> Vec<&str> {
        let found = self.table[0].iter().position(|column| column == name);
        let at = found.unwrap_or_else(|| panic!("no column {name}: {}", self.text));
        self.table[1..].iter().map(|row| row[at].as_str()).collect()
    }

    fn cell(&self, name: &str) -> &str {
        let column = self.column(name);
        assert_eq!(column.len(), 1, "{}", self.text);
        column[0]
    }

    fn has(&self, text: &str) {
        assert!(self.text.contains(text), "{text:?} is not in\n{}", self.text);
    }
}

/// Somebody who asks, and counts what it takes.
struct Asker {
    folder: PathBuf,
    tokens: usize,
}

impl Asker {
    /// The answer to a command, of so many tokens at most.
    fn ask(&mut self, command: &str, most_tokens: usize) -> Answer {
        let words = shlex::split(command).unwrap();
        let output = runq().current_dir(&self.folder).args(&words[1..]).arg("--agent").output().unwrap();
        let (text, notes) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{command}: {notes}");
        // The length of the folder's name is not to count.
        let counted = format!("{text}{notes}").replace(self.folder.to_str().unwrap(), "/work");
        let tokens = real(&counted);
        assert!(tokens <= most_tokens, "{command}: {tokens} tokens\n{text}{notes}");
        self.tokens += tokens;
        let first = text.split("\n\n").next().unwrap().lines().filter(|line| !line.starts_with("# "));
        let first = first.collect::<Vec<_>>().join("\n");
        let reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(first.as_bytes());
        let rows = reader.into_records().map(|row| row.unwrap().iter().map(str::to_owned).collect());
        Answer { table: rows.collect(), text }
    }
}

fn asker(folder: &Path) -> Asker {
    Asker { folder: folder.to_owned(), tokens: 0 }
}

#[test]
fn questions_about_the_best_runs() {
    let shelf = shelf();
    let mut asker = asker(&shelf.folder());
    // What is here?
    let told = asker.ask("runq overview", 210);
    told.has("\nruns,21\n");
    told.has("\nnewest,2 ocr failed 2023-11-19\n");
    // Which of the last five language models is the best?
    let told = asker.ask("runq best val_loss --newest 5 --where \"name = 'lm'\" -n 1", 85);
    assert_eq!((told.cell("run_id"), told.cell("best"), told.cell("best_step")), ("lm-4", "1.302", "99"));
    // Which learning rates gave an accuracy above 90 %?
    let told = asker.ask("runq best val_accuracy --group lr --where 'val_accuracy > 0.9'", 230);
    assert_eq!(told.column("grouped"), ["0.03", "0.01", "0.1"]);
    assert_eq!(told.column("best"), ["0.9338", "0.9208", "0.9118"]);
    // With which learning rate was the best accuracy reached?
    assert_eq!(asker.ask("runq config @best:val_accuracy lr", 15).cell("value"), "0.03");
    // What was its accuracy after ten epochs?
    let told = asker.ask("runq at @best:val_accuracy 10 -k val_accuracy", 60);
    assert_eq!((told.cell("value"), told.cell("max")), ("0.8993", "0.9338"));
    // Does the seed matter more than the learning rate?
    let told = asker.ask("runq seeds f1", 180);
    assert_eq!(told.column("settings"), ["lr=0.2", "lr=0.1"]);
    assert_eq!((told.column("mean"), told.column("std")), (vec!["0.8097", "0.7097"], vec!["0.01", "0.01"]));
    told.has("# the best two groups differ beyond noise");
    // Did anybody try a learning rate of 0.003 with a batch of 64, and how did it end?
    let told = asker.ask("runq tried lr=0.003 batch_size=64 -n 1", 65);
    assert_eq!((told.cell("run_id"), told.cell("distance"), told.cell("best")), ("lm-2", "0", "1.702"));
    assert!(asker.tokens < 750, "{} tokens", asker.tokens);
}

#[test]
fn questions_about_what_went_wrong() {
    let shelf = shelf();
    let mut asker = asker(&shelf.folder());
    // In which run did the gradients explode?
    let told = asker.ask("runq anomalies --kind grad_explosion", 110);
    assert_eq!((told.cell("key"), told.cell("step")), ("grad_norm", "371"));
    let run_id = told.cell("run_id").to_owned();
    // In which epoch?
    let told = asker.ask(&format!("runq diagnose {run_id}"), 170);
    assert_eq!(told.column("kind"), ["divergence", "grad_explosion"]);
    assert_eq!((told.column("step"), told.column("epoch")), (vec!["371", "371"], vec!["7", "7"]));
    // Why did the last run fail?
    let told = asker.ask("runq show @latest", 280);
    told.has("\nstate,failed\n");
    told.has(",torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.\n");
    // What changed between the last two runs?
    let told = asker.ask("runq diff @latest~1 @latest", 30);
    assert_eq!(told.table[1..], [["config", "batch_size", "64", "512"]]);
    // Is the newest run healthy? And the one before?
    let told = asker.ask("runq diagnose @latest", 25);
    assert_eq!(told.text, "2: nothing found (INITIALIZING); it failed: runq show 2\n");
    assert_eq!(asker.ask("runq diagnose @latest~1", 20).text, "1: nothing found (STABLE_CONVERGENCE)\n");
    assert_eq!(asker.ask("runq stop @latest", 35).cell("advice"), "it has ended");
    // Who ran out of memory before?
    let told = asker.ask("runq find 'out of memory'", 80);
    assert_eq!((told.cell("run_id"), told.cell("place")), ("2", "console"));
    assert!(asker.tokens < 700, "{} tokens", asker.tokens);
}

#[test]
fn questions_about_hours() {
    let shelf = shelf();
    let mut asker = asker(&shelf.folder());
    // How long did everything take, by project? By experiment?
    let told = asker.ask("runq cost", 155);
    assert_eq!(told.column("project"), ["(none)", "vision", "(all)"]);
    assert_eq!(
        (told.column("runs"), told.column("hours")),
        (vec!["16", "5", "21"], vec!["12.83", "9.5", "22.33"])
    );
    let told = asker.ask("runq cost --group name --where \"name = 'lm' or name = 'ocr'\"", 120);
    assert_eq!(
        (told.column("name"), told.column("hours")),
        (vec!["lm", "ocr", "(all)"], vec!["11.67", "1.133", "12.8"])
    );
    // Which run used the most GPU hours? It is not the longest one.
    let told = asker.ask("runq cost --group run -n 1", 100);
    assert_eq!((told.cell("name"), told.cell("gpu_hours"), told.cell("hours")), ("lr0.01", "20", "2.5"));
    let told = asker.ask("runq runs --where \"name = 'lr0.03'\" --sort -duration_s -n 1", 160);
    assert_eq!(told.cell("duration_s"), "10800");
}

/// The commands of the answer bring the code back.
#[test]
fn questions_about_code() {
    let shelf = shelf();
    let folder = shelf.folder();
    let mut asker = asker(&folder);
    // How do I get the code of the best run back? And that of the best of the last five?
    for (run, place, code) in [("@best:val_loss", "run-lm-0", CODES[0]), ("lm-4", "run-lm-4", CODES[2])] {
        let told = asker.ask(&format!("runq code {run}"), 230);
        let commands = commands(&told.text);
        assert_eq!(commands.len(), 1, "{}", told.text);
        shell(&folder, commands[0]);
        let restored = folder.parent().unwrap().join(place).join("train.py");
        assert_eq!(std::fs::read_to_string(restored).unwrap(), code);
    }
    // Why is one run better than another?
    let told = asker.ask("runq why lm-4 lm-6", 180);
    assert_eq!(told.column("about"), ["outcome", "outcome", "config", "curves", "code"]);
    told.has("lm-4 is better than lm-6: best val_loss 1.302 at step 99 against 1.452 at step 99");
    told.has("lr: 0.001 -> 0.0003\n");
    // How did they stand after 50 and after 80 steps?
    let told = asker.ask("runq compare lm-4@50 lm-6@80 -k val_loss", 150);
    told.has("\nval_loss,lm-6,1.412,1.487,0.07448,5.274,worse,50,80,");
    assert!(!told.text.contains("too few"), "{}", told.text);
    // Is the difference between the last two runs real?
    let told = asker.ask("runq compare @latest~1 @latest", 200);
    told.has("# fewer than 20 common steps are too few to tell noise: train.loss\n");
    // What did its code add?
    let told = asker.ask("runq code lm-6 --diff lm-4", 120);
    told.has("\n+warmup = 200\n");
}
