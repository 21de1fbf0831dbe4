//! Planning the Python layers of a lock: grouping, keys, and looking them up among what is known.
//!
//! Pure work on values in memory; resolving, and asking registries, is not measured.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use lapstrake::image::users::Owner;
use lapstrake::layer::EntryPath;
use lapstrake::oci::{Descriptor, DiffId, Digest, media_type};
use lapstrake::plan::{
    DirectoryEntry, Known, KnownLayer, LayerKind, Place, Placement, PlannedLayer, annotate, wheel_layers,
};
use lapstrake::python::InstallScheme;
use lapstrake::python::install::Manner;
use lapstrake::python::layering::Budget;
use lapstrake::python::lock::LockedWheel;

/// Wheels with the sizes that a lock has: a few large ones, many small ones.
fn wheels(count: usize) -> Vec<LockedWheel> {
    let wheel = |at: usize| {
        let name = format!("package-{at:03}");
        let size = if at.is_multiple_of(10) { 5 << 20 } else { 20_000 + 1_000 * at as u64 };
        LockedWheel {
            filename: format!("package_{at:03}-1.{at}.0-py3-none-any.whl"),
            url: format!("https://files.example/package_{at:03}-1.{at}.0-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            version: format!("1.{at}.0"),
            size: Some(size),
            direct_url: None,
            index: None,
            origin: None,
            name,
        }
    };
    (0..count).map(wheel).collect()
}

fn placement() -> Placement {
    let site = "/usr/local/lib/python3.11/dist-packages";
    let ways = ["usr", "usr/local", "usr/local/bin", "usr/local/lib", "usr/local/lib/python3.11", &site[1..]];
    let directory = |path: &&str| DirectoryEntry {
        path: EntryPath::parse(*path).unwrap(),
        mode: 0o755,
        owner: Owner { uid: 0, gid: 0 },
    };
    Placement {
        scheme: InstallScheme {
            interpreter: "/usr/bin/python3".into(),
            purelib: site.into(),
            platlib: site.into(),
            scripts: "/usr/local/bin".into(),
            include: "/usr/local/include/python3.11".into(),
            data: "/usr/local".into(),
        },
        directories: ways.iter().map(directory).collect(),
        owner: Owner { uid: 0, gid: 0 },
        installer: "uv".into(),
        manner: Manner::default(),
        python: (3, 11),
        requested: None,
    }
}

/// What an image with these layers would make known.
fn known(layers: &[PlannedLayer]) -> Known {
    let mut known = Known::default();
    for layer in layers {
        let key = layer.key.clone().unwrap();
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(layer.title.as_bytes()), 1 << 20);
        let diff_id = DiffId(Digest::of(b"tar"));
        let descriptor = annotate(blob, &key, &diff_id.to_string(), LayerKind::Python, &layer.title);
        known.add(key, KnownLayer { descriptor, diff_id, place: Place::Target });
    }
    known
}

fn main() {
    let placement = placement();
    let budget = Budget::new(5);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("plan");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for count in [46, 500] {
        let wheels = wheels(count);
        let known = known(&wheel_layers(&wheels, &placement, budget, &Known::default()).unwrap());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} wheels"), |bencher| {
            bencher.iter(|| {
                let layers = wheel_layers(black_box(&wheels), &placement, budget, &known).unwrap();
                let found = layers.iter().filter(|layer| known.layer(layer.key.as_ref().unwrap()).is_some()).count();
                assert_eq!(found, layers.len());
                layers
            });
        });
    }
    group.finish();
}
