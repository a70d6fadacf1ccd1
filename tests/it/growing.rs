//! The law of all readers: a folder of logs that grows and is looked at now and then gives the tables of
//! reading it once.

use crate::common::{Project, cases, data, everything};
use proptest::prelude::*;
use runq::store::Limits;
use runq::workspace::{Options, Quiet, Workspace};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of `tests/data`: real logs of each source.
fn sources() -> Vec<String> {
    let folders = fs::read_dir(data("")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is written in one go by its producer: half of it is no state that a reader ever meets.
fn is_whole(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["db", "zip", "parquet"].iter().any(|whole| extension == *whole))
}

/// The files of a folder, but for the expectations of the tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            entry.file_type().is_file() && !entry.file_name().to_string_lossy().starts_with("expected")
        })
        .map(|entry| entry.into_path())
        .collect();
    files.sort();
    files
}

/// A number below `n` that depends on all that is given.
fn draw(seed: u64, file: usize, round: usize, n: u64) -> u64 {
    let mixed = seed
        ^ (file as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (round as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 32)) % n
}

/// Writes of each file as much as it holds after this round; what was written before stays.
fn write(project: &Project, source: &Path, round: Option<usize>, seed: u64) {
    for (index, file) in files(source).iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        let hundredths = match round {
            None => 100,
            Some(round) => (0..=round).map(|round| draw(seed, index, round, 70)).sum::<u64>().min(100),
        };
        let size = match is_whole(file) {
            true if hundredths < 50 => 0,
            true => bytes.len(),
            false => bytes.len() * hundredths as usize / 100,
        };
        let path = file.strip_prefix(source).unwrap().to_string_lossy().into_owned();
        let known = fs::metadata(project.root().join(&path)).map_or(0, |metadata| metadata.len() as usize);
        if size > known {
            project.append(&path, &bytes[known..size]);
        }
    }
}

/// The same folder, read once into another cache.
fn read_at_once(project: &Project) -> String {
    let cache = tempfile::tempdir().unwrap();
    let options = Options {
        root: Some(project.root().to_path_buf()),
        cache: Some(cache.path().to_path_buf()),
        limits: Limits::default(),
        now_ms: Some(project.now_ms),
        ..Options::default()
    };
    let workspace = Workspace::open(options).unwrap();
    workspace.refresh(&Quiet).unwrap();
    everything(&workspace)
}

fn assert_grows(source: &str, seed: u64) {
    let mut project = Project::in_memory();
    // What grows is not at rest.
    project.now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    for round in [Some(0), Some(1), None] {
        write(&project, &data(source), round, seed);
        project.refresh();
    }
    let (grown, at_once) = (project.everything(), read_at_once(&project));
    let differing = grown.lines().zip(at_once.lines()).find(|(a, b)| a != b);
    assert!(grown == at_once, "{source}, seed {seed}: grown and at once {differing:#?}");
}

proptest! {
    #![proptest_config(cases(5))]

    #[test]
    fn folders_that_grow_give_the_tables_of_reading_them_once(source in prop::sample::select(sources()), seed: u64) {
        assert_grows(&source, seed);
    }
}
