//! Lines that are known.
//!
//! What is refused stands in `refused`.

use super::*;

fn check(table: &[(&str, &str)]) {
    for (line, expected) in table {
        match read(line) {
            Ok(known) => assert_eq!(&short(&known), expected, "{line}"),
            Err(error) => panic!("{line}\n{error}"),
        }
    }
}

#[test]
fn zz_print() {
    for line in std::fs::read_to_string("/tmp/rl-lines.txt").unwrap().lines() {
        match read(line) {
            Ok(known) => println!("(r#\"{line}\"#, r#\"{}\"#),", short(&known)),
            Err(e) => println!("ERR {line} => [{}] {}", e.command, e.reason),
        }
    }
}
#[test]
fn zz_words() {
    let text = std::fs::read_to_string("/tmp/rl-words.txt").unwrap();
    for line in text.split('\x01') {
        match read_with(line, &BASH, &[("BACK", "a\\b"), ("SP", " a  b "), ("GLOB", "x[ab]"), ("TIL", "~/x")]) {
            Ok(known) => {
                let mut words = Vec::new();
                for step in &known.steps {
                    if let RunStep::Mkdir { paths, .. } = &step.does {
                        words.extend(paths.clone());
                        words.push(String::new());
                    }
                }
                println!("OK {}", serde_json::to_string(&words).unwrap());
            }
            Err(e) => println!("ERR {}", serde_json::to_string(&e.reason).unwrap()),
        }
    }
}
