//! Walking a source tree: listing, ignoring and hashing 20,000 small files.
//!
//! The tree is made in the temporary folder and stays in the page cache; it does not measure a disk.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use lapstrake::inputs::ignore::IgnoreRules;
use lapstrake::inputs::source::{WalkOptions, walk};

const FILES: usize = 20_000;
const IN_FOLDER: usize = 100;
const RULES: &str = "**/__pycache__\n**/*.pyc\n.git\nnode_modules\n!keep/**\n";

/// Files of 0.2 to 8 kB, a hundred a folder, and folders in folders.
fn make(root: &Path) {
    for folder in 0..FILES / IN_FOLDER {
        let at = root.join(format!("area_{}/package_{folder}", folder % 10));
        fs::create_dir_all(&at).unwrap();
        for file in 0..IN_FOLDER {
            let line = format!("def step_{folder}_{file}(value):\n    return value + {file}\n");
            fs::write(at.join(format!("module_{file}.py")), line.repeat(4 + file * 31 % 150)).unwrap();
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let rules = IgnoreRules::parse(RULES.as_bytes()).unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(FILES as u64)).sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, threads) in [("one thread", 1), ("a thread for each core", 0)] {
        let options = WalkOptions { threads, ..WalkOptions::default() };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let tree = walk(folder.path(), &rules, &options).unwrap();
                assert_eq!(tree.file_count(), FILES);
                black_box(tree.key_material())
            });
        });
    }
    group.finish();
}
