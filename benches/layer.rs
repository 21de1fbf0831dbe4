//! Writing a layer from the members of wheels, beside the work that cannot be avoided and beside gzip.
//!
//! The members come from the wheels in the folder `LAPSTRAKE_BENCH_WHEELS`, or are made up when it is not set. At the
//! beginning a table of speeds is printed, at the end one of sizes. It does not measure reading a wheel's directory.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and prints its results")]

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use lapstrake::layer::{Entry, EntryKind, EntryPath, LayerWriter, PLACED_MTIME};
use lapstrake::oci::Digester;

/// One file of a wheel as the archive holds it.
struct Member {
    entry: Entry,
    deflated: Vec<u8>,
    crc32: u32,
    inflated: Vec<u8>,
}

impl Member {
    fn new(name: &[u8], deflated: Vec<u8>, inflated: Vec<u8>) -> Self {
        let kind = EntryKind::File { size: inflated.len() as u64 };
        let path = EntryPath::parse([b"usr/local/lib/python3.13/site-packages/", name].concat()).unwrap();
        let entry = Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: PLACED_MTIME };
        Self { entry, deflated, crc32: crc32fast::hash(&inflated), inflated }
    }

    fn made_up(name: &str, inflated: Vec<u8>) -> Self {
        Self::new(name.as_bytes(), deflate(&inflated, 6), inflated)
    }
}

fn deflate(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The files of a zip archive, read by its central directory (no zip64).
fn members_of(archive: &[u8]) -> Vec<Member> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([archive[at], archive[at + 1]]));
    let u32_at = |at: usize| u32::from_le_bytes(archive[at..at + 4].try_into().unwrap()) as usize;
    let end = memchr::memmem::rfind(archive, b"PK\x05\x06").unwrap();
    let mut at = u32_at(end + 16);
    let mut members = Vec::new();
    for _ in 0..u16_at(end + 10) {
        let (method, size, name_len) = (u16_at(at + 10), u32_at(at + 20), u16_at(at + 28));
        let name = &archive[at + 46..at + 46 + name_len];
        let local = u32_at(at + 42);
        let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
        let content = &archive[start..start + size];
        if name.ends_with(b"/") {
        } else if method == 8 {
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(content).read_to_end(&mut inflated).unwrap();
            members.push(Member::new(name, content.to_vec(), inflated));
        } else {
            members.push(Member::new(name, deflate(content, 6), content.to_vec()));
        }
        at += 46 + name_len + u16_at(at + 30) + u16_at(at + 32);
    }
    members
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads its own folder, and sorts it")]
fn members() -> Vec<Member> {
    let Some(folder) = std::env::var_os("LAPSTRAKE_BENCH_WHEELS") else {
        return made_up_members();
    };
    let mut wheels: Vec<_> = std::fs::read_dir(Path::new(&folder)).unwrap().map(|item| item.unwrap().path()).collect();
    wheels.sort();
    let mut members = Vec::new();
    for wheel in wheels.iter().filter(|path| path.extension().is_some_and(|extension| extension == "whl")) {
        let mut archive = Vec::new();
        File::open(wheel).unwrap().read_to_end(&mut archive).unwrap();
        members.extend(members_of(&archive));
    }
    members
}

/// Sources and shared objects with the sizes that wheels have, the same at each run.
fn made_up_members() -> Vec<Member> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let words: Vec<Vec<u8>> = (0..3000).map(|_| (0..2 + next(9)).map(|_| b'a' + next(26) as u8).collect()).collect();
    let mut text = |len: usize, noise: usize| {
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            if next(100) < noise {
                text.push(next(256) as u8);
            } else {
                let word = next(words.len());
                text.extend_from_slice(&words[word * word / words.len()]);
                text.push(b" \n.(),"[next(6)]);
            }
        }
        text
    };
    let sources = (0..1500).map(|n| Member::made_up(&format!("made/up_{n}.py"), text(200 + (n % 40) * 1000, 0)));
    let sources: Vec<_> = sources.collect();
    let objects = [300_000, 900_000, 3_000_000, 8_000_000, 24_000_000];
    let objects = objects.map(|size| Member::made_up(&format!("made/object_{size}.so"), text(size, 60)));
    sources.into_iter().chain(objects).collect()
}

/// Writes the layer; `record` adds the hash that a check of RECORD needs, which has taken these bytes before: with none
/// it is in step with the layer's own and made in one pass, with one byte it is out of step and made apart.
fn layer(members: &[Member], record: Option<&[u8]>) -> u64 {
    let mut writer = LayerWriter::new(std::io::sink());
    for member in members {
        let mut digester = Digester::sha256();
        let len = member.deflated.len() as u64;
        digester.update(record.unwrap_or_default());
        let record = record.is_some().then_some(&mut digester);
        writer.append_deflated(&member.entry, &mut &member.deflated[..], len, member.crc32, record).unwrap();
        black_box(digester.finish());
    }
    writer.finish().unwrap().0.descriptor.size
}

/// The least that any writer must do: inflate everything and hash it once.
fn inflate_and_hash(members: &[Member], hash: bool) {
    let mut digester = Digester::sha256();
    let mut whole = libdeflater::Decompressor::new();
    let mut streaming = flate2::Decompress::new(false);
    let mut out = vec![0; 4 << 20];
    for member in members {
        if member.inflated.len() <= out.len() {
            let made = whole.deflate_decompress(&member.deflated, &mut out).unwrap();
            if hash {
                digester.update(&out[..made]);
            }
            continue;
        }
        streaming.reset(false);
        loop {
            let (read, made) = (streaming.total_in() as usize, streaming.total_out());
            let input = &member.deflated[read..];
            let status = streaming.decompress(input, &mut out[..256 << 10], flate2::FlushDecompress::None).unwrap();
            if hash {
                digester.update(&out[..(streaming.total_out() - made) as usize]);
            }
            if status == flate2::Status::StreamEnd {
                break;
            }
        }
    }
    black_box(digester.finish());
}

fn gzip(members: &[Member], level: u32) -> u64 {
    let mut encoder = flate2::write::GzEncoder::new(Counter(0), flate2::Compression::new(level));
    for member in members {
        encoder.write_all(&member.inflated).unwrap();
    }
    encoder.finish().unwrap().0
}

fn libdeflate(members: &[Member], level: i32) -> u64 {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(level).unwrap());
    let tar: Vec<u8> = members.iter().flat_map(|member| &member.inflated).copied().collect();
    let mut out = vec![0; compressor.gzip_compress_bound(512 << 10)];
    tar.chunks(512 << 10).map(|part| compressor.gzip_compress(part, &mut out).unwrap() as u64).sum()
}

/// A sink that counts.
struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Seconds for which this thread had a processor, where the system says so.
fn busy_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(|nanoseconds: f64| nanoseconds / 1e9)
}

/// The part of the speed of inflating and hashing once that a layer must reach while RECORD is checked.
const TO_REACH: f64 = 0.80;

/// Prints how fast a layer is made, in parts of the speed of inflating and hashing once: the best of many rounds, in
/// which the works take turns, by processor time where there is such, since others may use the machine too.
fn ratios(members: &[Member], total: u64) {
    const ROUNDS: usize = 25;
    let works: [(&str, &dyn Fn()); 4] = [
        ("inflate+sha256", &|| inflate_and_hash(members, true)),
        ("layer without RECORD", &|| _ = black_box(layer(members, None))),
        ("layer with RECORD", &|| _ = black_box(layer(members, Some(b"")))),
        ("RECORD out of step", &|| _ = black_box(layer(members, Some(b"x")))),
    ];
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        for ((_, work), best) in works.iter().zip(&mut best) {
            let (start, busy) = (Instant::now(), busy_seconds());
            work();
            let wall = start.elapsed().as_secs_f64();
            *best = best.min(busy_seconds().zip(busy).map_or(wall, |(end, start)| end - start));
        }
    }
    for ((name, _), seconds) in works.iter().zip(best) {
        println!("{name:>20} {:>6.0} MB/s  {:.3} of inflate+sha256", total as f64 / 1e6 / seconds, best[0] / seconds);
    }
    println!("to reach, with RECORD: {TO_REACH:.2} of inflate+sha256");
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut work: impl FnMut()) {
    group.bench_function(name, |bencher| bencher.iter(&mut work));
}

fn main() {
    let members = members();
    let total: u64 = members.iter().map(|member| member.inflated.len() as u64).sum();
    ratios(&members, total);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("layer");
    group.throughput(Throughput::Bytes(total)).sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    measure(&mut group, "inflate", || inflate_and_hash(&members, false));
    measure(&mut group, "inflate+sha256", || inflate_and_hash(&members, true));
    measure(&mut group, "layer", || _ = black_box(layer(&members, None)));
    measure(&mut group, "layer+record", || _ = black_box(layer(&members, Some(b""))));
    measure(&mut group, "gzip-1", || _ = black_box(gzip(&members, 1)));
    measure(&mut group, "libdeflate-6", || _ = black_box(libdeflate(&members, 6)));
    measure(&mut group, "gzip-6", || _ = black_box(gzip(&members, 6)));
    group.finish();
    println!("{} files, {total} bytes inflated", members.len());
    for (name, size) in [
        ("layer", layer(&members, None)),
        ("gzip-1", gzip(&members, 1)),
        ("libdeflate-6", libdeflate(&members, 6)),
        ("gzip-6", gzip(&members, 6)),
    ] {
        println!("{name:>13} {size:>10} bytes  {:.3} of inflated", size as f64 / total as f64);
    }
}
