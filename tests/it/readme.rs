//! The README's transcript is real.

use crate::common::Project;

/// The transcript is that of a terminal of so many columns.
const COLUMNS: &str = "100";

/// The `$ command` blocks and the output below each.
fn transcript() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = readme.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
    let steps = blocks.flat_map(|block| block.split("$ runq ").skip(1));
    steps
        .map(|step| step.split_once('\n').map(|(c, o)| (c.to_string(), o.trim().to_string())).unwrap())
        .collect()
}

#[test]
fn the_transcript_is_what_the_commands_print() {
    let project = Project::of("wandb");
    let steps = transcript();
    assert!(steps.len() >= 10);
    let mut wrong = Vec::new();
    for (command, expected) in steps {
        let output = crate::common::runq()
            .arg("-C")
            .arg(project.root())
            .args(shlex::split(&command).unwrap())
            .args(["--format", "table"])
            .env("COLUMNS", COLUMNS)
            .output()
            .unwrap();
        let got = String::from_utf8(output.stdout).unwrap();
        if got.trim() != expected {
            wrong.push(format!("$ runq {command}\n{got}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the lines for polars do: the files where nothing of them is hidden, else one exact file.
#[test]
fn readers_of_parquet_get_the_points_that_count() {
    let project = Project::of("wandb");
    let run = |args: &[&str]| {
        let mut command = crate::common::runq();
        let output = command.arg("-C").arg(project.root()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let files = run(&["files", "metrics", "--format", "jsonl"]);
    let files: Vec<serde_json::Value> =
        files.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(files.iter().any(|file| file["hidden_count"].as_i64() > Some(0)), "{files:?}");
    let exact = project.root().join("metrics.parquet");
    run(&["sql", "select * from metrics", "-o", exact.to_str().unwrap()]);
    let reader = parquet::file::reader::SerializedFileReader::try_from(exact.as_path()).unwrap();
    use parquet::file::reader::FileReader;
    let written = reader.metadata().file_metadata().num_rows();
    assert_eq!(run(&["sql", "select count(*) from metrics"]), format!("count(*)\n{written}\n"));
}
